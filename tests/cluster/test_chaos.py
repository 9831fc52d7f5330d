"""Random failures of nodes, connections and the database under many sessions: nothing is lost, doubled or changed.

A few seconds; 30 with ALC_THOROUGH=1; `python bench/cluster_chaos.py --seconds N --sessions N --seed S` runs longer.
"""

import os

import pytest

from tests.cluster.chaos import OWNERS, SETTINGS, Chaos
from tests.cluster.nodes import Cluster
from tests.cluster.postgres import Postgres

_SECONDS = 30.0 if os.environ.get("ALC_THOROUGH") == "1" else 12.0


@pytest.mark.slow
@pytest.mark.anyio
async def test_whatever_fails_at_random_every_acknowledged_answer_counts_once(postgres: Postgres) -> None:
    with Cluster(postgres, lease_s=2.0, principals=OWNERS, settings=SETTINGS) as cluster:
        cluster.start()
        verdict = await Chaos(cluster, 7, sessions=20).run(_SECONDS)

    assert verdict.is_kept, verdict
    assert verdict.events["answers acknowledged"] > 20, verdict
    assert any(name.startswith("faults:") for name in verdict.events), verdict
