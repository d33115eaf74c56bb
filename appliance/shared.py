"""One store for several machines: what each recorded and learned goes there, and comes from there to whoever needs it.

The catalog that they share says what there is. A machine keeps what it needs in its own data folder, where everything
else finds it as if it had been made there. Nothing is deleted, here or there.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.doing import Doing
from appliance.home import Home
from appliance.refusal import Refusal
from ops.carrying import POLICIES, Item, items, within
from ops.purge import HOLDS
from ops.verify import Finding, Kind
from storage import Listed, PolicyRow
from storage.arrays import sync
from storage.seal import alone

if TYPE_CHECKING:
    from storage.store import Far, Store

FETCHING = Path("cache", "fetching")
"""Where in the data folder lies what is on its way here."""
AT_ONCE = 4

type Tell = Callable[[str, int, int], None]


def mute(_what: str, _done: int, _of: int) -> None:
    """Tell nobody."""


class NotHere(Refusal):
    """Something is neither on this machine nor in the store. The message says what it is and what would help."""


class NoStore(Refusal):
    """Nothing says what machines share."""


class Changed(Refusal):
    """What is to be shared, or has arrived, is not what the catalog says."""


@dataclass(frozen=True)
class Moved:
    """What was pushed, or fetched."""

    number: int = 0
    bytes: int = 0


def present(
    home: Home, episodes: Iterable[Listed] = (), policies: Iterable[PolicyRow] = (), tell: Tell = mute
) -> Moved:
    """Make sure that these lie in this machine's data folder; what does not is fetched, if there is a store.

    Raises:
        NotHere: the store does not have one of them.
        Changed: what arrived is not what the catalog says.
        StoreFailed: the store cannot be reached.
    """
    wanted = [_of_episode(one) for one in episodes if not one.standing.purged]
    wanted += [_of_policy(row) for row in policies]
    lacking = [item for item in wanted if not (home.folder / item.path).is_dir()]
    return fetch(home, lacking, tell) if home.store and lacking else Moved()


def fetch(home: Home, lacking: list[Item], tell: Tell = mute) -> Moved:
    """Bring these from the store into the data folder: each whole, or not at all.

    Raises:
        NotHere, Changed, StoreFailed: see `present`.
    """
    store, done = demanded(home), Moved()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for size in pool.map(lambda item: _fetched(home, store, item), lacking):
            done = Moved(done.number + 1, done.bytes + size)
            tell("fetching from the store", done.number, len(lacking))
    return done


def push(home: Home, tell: Tell = mute, only: Iterable[Item] | None = None) -> Moved:
    """Bring what lies in this machine's data folder, and not in the store yet, into the store, if there is one.

    What the catalog knows counts, or ``only`` these. Interrupted, it goes on where it was.

    Raises:
        Changed: something is not what the catalog says, and stays here.
        StoreFailed: the store cannot be reached, or has something else under a name.
    """
    if not home.store:
        return Moved()
    store = demanded(home)
    there = store.paths()
    if only is None:
        with home.join() as catalog:
            only = items(catalog, home.folder).there
    new = [item for item in only if item.path not in there and (home.folder / item.path).is_dir()]
    done, wrong = Moved(), []
    for number, item in enumerate(new, 1):
        if found := item.wrong(home.folder / item.path):
            wrong.append(f"{item.about}: {'; '.join(found)}")
            continue
        done = Moved(done.number + 1, done.bytes + store.push(home.folder / item.path, item.path, item.digest))
        tell("pushing to the store", number, len(new))
    if wrong:
        raise Changed(f"not shared, for it is not what the catalog says: {'. '.join(wrong)}")
    return done


def push_policy(home: Home, row: PolicyRow) -> None:
    """Bring one policy into the store, if there is one.

    Raises:
        Changed, StoreFailed: see `push`.
    """
    push(home, only=[_of_policy(row)])


def pull(home: Home, tell: Tell = mute) -> Moved:
    """Bring everything that the catalog knows and the store has into this machine's data folder.

    Raises:
        NoStore: there is none.
        Changed, StoreFailed: see `present`.
    """
    there = demanded(home).paths()
    with home.join() as catalog:
        known = items(catalog, home.folder).there
    return fetch(home, [one for one in known if one.path in there and not (home.folder / one.path).is_dir()], tell)


def demanded(home: Home) -> "Store":
    """The store.

    Raises:
        NoStore: there is none.
    """
    if not home.store:
        raise NoStore(
            "nothing says what this machine shares with others: set APPLIANCE_STORE to a folder that all of them "
            "mount, or to s3://BUCKET/PREFIX"
        )
    from storage.store import Store

    return Store(home.store)


def far(home: Home, found: Listed) -> "Far | None":
    """An episode read where it is, when it is not on this machine and there is a store.

    Raises:
        NotHere: the store does not have it.
        StoreFailed: the store cannot be reached.
    """
    if not home.store or (home.folder / found.standing.path).is_dir():
        return None
    try:
        return demanded(home).episode(found.standing.path)
    except FileNotFoundError as error:
        raise _not_here(_of_episode(found), home) from error


def share(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """The job: push what is new here, and with ``pull`` fetch what is new there."""
    demanded(home)
    pushed = push(home, doing.tell)
    pulled = pull(home, doing.tell) if settings.get("pull") else Moved()
    return {"pushed": pushed.number, "fetched": pulled.number, "bytes": pushed.bytes + pulled.bytes}


def amiss(home: Home, found: Iterable[Finding]) -> Iterator[Finding]:
    """Of what `verify` found, all but what is missing here and in the store: this machine need not have it."""
    there: set[Path] | None = None if home.store else set()
    for finding in found:
        if there is None and finding.kind is Kind.MISSING:
            there = {home.folder / path for path in demanded(home).paths()}
        if finding.kind is not Kind.MISSING or finding.where not in (there or ()):
            yield finding


def _fetched(home: Home, store: "Store", item: Item) -> int:
    """Fetch one, unless another program of this machine has meanwhile."""
    final, part = home.folder / item.path, home.folder / FETCHING / item.path.replace("/", "-")
    with alone(part):
        if final.is_dir():
            part.rmdir()
            return 0
        try:
            size = store.fetch(item.path, part)
        except FileNotFoundError as error:
            raise _not_here(item, home) from error
        if found := item.wrong(part):
            raise Changed(f"{item.about} came from {home.store} and is not what the catalog says: {'; '.join(found)}")
        final.parent.mkdir(parents=True, exist_ok=True)
        part.rename(final)
        sync(final.parent)
    return size


def _not_here(item: Item, home: Home) -> NotHere:
    return NotHere(
        f"{item.about} is not on this machine, and the store {home.store} does not have it; on the machine that has "
        "it: appliance share --push"
    )


def _of_episode(found: Listed) -> Item:
    standing = found.standing
    return Item(within(Path(standing.path), HOLDS), standing.digest, f"episode {found.row.id}", episode=True)


def _of_policy(row: PolicyRow) -> Item:
    return Item(within(Path(row.path), (POLICIES,)), row.digest, f"policy {row.name}", episode=False)
