"""Addresses of sockets at paths of any length."""

import socket
from pathlib import Path

import pytest

from algocline_mcp.storage import socket_paths
from algocline_mcp.storage.socket_paths import short_path


@pytest.mark.parametrize("descriptors", ["/proc/self/fd", "/nonexistent"], ids=["by descriptor", "by link"])
@pytest.mark.parametrize("depth", [0, 1, 15])
def test_socket_is_bound_and_reached_at_any_depth_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, descriptors: str
) -> None:
    monkeypatch.setattr(socket_paths, "_DESCRIPTORS", descriptors)
    directory = tmp_path.joinpath(*["d" * 200] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    used: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        for connect in (listener.bind, client.connect):
            with short_path(directory / "s") as address:
                connect(address)
                used.append(address)
            listener.listen()
        accepted, _ = listener.accept()
        accepted.close()

    assert [path.name for path in directory.iterdir() if path.name == "s"] == ["s"]
    assert depth == 0 or not any(Path(address).parent.exists() for address in used)


def test_missing_directory_of_a_long_path_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), short_path(tmp_path / ("d" * 200) / "s"):
        pass
