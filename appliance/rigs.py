"""What a policy's demonstrations were recorded at, read from the episodes of its snapshot."""

from pathlib import Path

from ops.rig import Recorded, Rig, some
from storage import Catalog, Episode, Listed, PolicyRow


def rig(catalog: Catalog, root: Path, policy: PolicyRow) -> Rig | None:
    """The cell that a policy learned at; None where none of its demonstrations is on this disk."""
    if policy.snapshot is None:
        return None
    there = [root / one.standing.path for one in taught(catalog, policy.snapshot)]
    seen = [Recorded.of(Episode(path)) for path in some([path for path in there if path.is_dir()])]
    values = {row.id: row.values for row in catalog.calibrations()}
    return Rig(seen, values) if seen else None


def taught(catalog: Catalog, snapshot: str) -> list[Listed]:
    """The demonstrations of a snapshot that are still kept."""
    known = catalog.among(catalog.learned(snapshot))
    return [one for one in known.values() if one.row.station and not one.standing.purged]  # film is of no station
