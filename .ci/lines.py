"""Which lines of the package ran, in whichever process: `python .ci/lines.py watch|report DIRECTORY`.

`watch`: each process that this virtual environment starts from now on, and each fork of it, sets a byte for each line
that it runs, in a file that all of them map. Nothing is written at the end, so what a killed process ran counts too.
`report`: hands the lines to coverage, which prints the report, and fails below the floor in pyproject.toml.

Coverage's own measurement took 0.12 s of CPU more for each process; a suite starts 12,000, and each fork of them began
it anew. This takes 0.01 s, and a fork nothing. It needs sys.monitoring: Python 3.12.
"""

import mmap
import os
import sys

PACKAGE = "algocline_mcp"
LINES = 1024  # bytes of each module in the file, one a line: more than any has


def watch(directory: str) -> None:
    import shutil
    import sysconfig
    from pathlib import Path

    library = sysconfig.get_path("purelib")
    # Not strategies: an engine runs their code under names of its own.
    modules = sorted(str(path) for path in Path(PACKAGE).rglob("*.py") if "strategies" not in path.parts)
    os.mkdir(directory)
    Path(directory, "modules").write_text("\n".join(modules))
    Path(directory, "lines").write_bytes(bytes(LINES * len(modules)))
    shutil.copy(__file__, f"{library}/a0_lines.py")
    Path(library, "a0_lines.pth").write_text(f"import a0_lines; a0_lines.start({os.getcwd()!r}, {directory!r})\n")


def start(root: str, directory: str) -> None:
    monitoring = sys.monitoring
    tool, line_event, disable = monitoring.COVERAGE_ID, monitoring.events.LINE, monitoring.DISABLE
    if monitoring.get_tool(tool):  # site reads a .pth again where lib64 is a link to lib
        return
    monitoring.use_tool_id(tool, "lines")
    places = {}
    with open(f"{directory}/modules") as file:
        for number, module in enumerate(file.read().split("\n")):
            # The second name is that of code in a worker: algocline_mcp/worker/lowlevel/code_names.py
            places[f"{root}/{module}"] = places[f"<lib>/{module}"] = number * LINES
    descriptor = os.open(f"{directory}/lines", os.O_RDWR)
    duplicate = os.dup(descriptor)
    os.close(duplicate)
    lines = mmap.mmap(descriptor, 0)  # keeps a duplicate, of the same number, as nothing else runs yet
    os.close(descriptor)
    os.close(duplicate)  # tests compare the descriptors of a process with a list

    def on_start(code, _offset):
        if code.co_filename in places:
            monitoring.set_local_events(tool, code, line_event)
        return disable

    def on_line(code, line):
        lines[places[code.co_filename] + line] = 1
        return disable

    monitoring.register_callback(tool, monitoring.events.PY_START, on_start)
    monitoring.register_callback(tool, line_event, on_line)
    monitoring.set_events(tool, monitoring.events.PY_START)


def report(directory: str) -> None:
    from pathlib import Path

    from coverage import CoverageData

    ran = Path(directory, "lines").read_bytes()
    data = CoverageData(f"{directory}/data")
    for number, module in enumerate(Path(directory, "modules").read_text().split("\n")):
        lines = ran[number * LINES : (number + 1) * LINES]
        data.add_lines({os.path.abspath(module): [line for line, has_run in enumerate(lines) if has_run]})
    data.write()
    coverage = Path(sys.executable).with_name("coverage")
    os.execv(coverage, [coverage, "report", "--data-file", f"{directory}/data", "--skip-covered", "--sort=cover"])


if __name__ == "__main__":
    {"watch": watch, "report": report}[sys.argv[1]](os.path.abspath(sys.argv[2]))
