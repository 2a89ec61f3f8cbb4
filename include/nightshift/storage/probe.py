"""Proof that a store keeps the one promise everything rests on: of two creators of a name, the second is refused.

Some stores take ``If-None-Match`` and ignore it. On those two runs would publish the same version number, and the
loser's files would be read under the winner's manifest.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

from nightshift.errors import SettingsError
from nightshift.storage.objects import Objects

WRITERS = 8
RACES = 5

HINT = (
    "use a store with conditional writes (If-None-Match: *): local disk, Amazon S3, MinIO, Google Cloud Storage, "
    "Azure; NIGHTSHIFT_STORAGE names it, docs/storage.md says what is asked of it"
)


def require_refusal(objects: Objects, name: str, data: bytes) -> None:
    """Ask a store to create an object that is there, which it must refuse. Costs one request.

    Args:
        objects: The store.
        name: An object that is there.
        data: Its bytes: a store that does not refuse has written them anew.

    Raises:
        SettingsError: It did not refuse.
        StorageError: The store failed.
    """
    if not objects.refuses_another(name, data):
        raise SettingsError(
            f"the store at {objects.root} wrote {objects.uri(name)} a second time instead of refusing to: "
            "it has no conditional create, so two runs could publish over each other.",
            hint=HINT,
        )


def require_conditional_create(objects: Objects) -> None:
    """Try what every publication does, also with many writers of one name at once; leaves nothing behind.

    Raises:
        SettingsError: A second writer won, or nobody did.
        StorageError: The store failed.
    """
    folder = f".probe-{uuid.uuid4().hex}"
    try:
        objects.create(f"{folder}/first", b"first")
        require_refusal(objects, f"{folder}/first", b"first")
        with ThreadPoolExecutor(WRITERS) as pool:
            for race in range(RACES):
                name = f"{folder}/race-{race}"
                won = list(pool.map(lambda writer, name=name: objects.create(name, b"%d" % writer), range(WRITERS)))
                _require_one_winner(objects, name, [writer for writer, first in enumerate(won) if first])
    finally:
        objects.delete_folder(folder)


def _require_one_winner(objects: Objects, name: str, winners: list[int]) -> None:
    kept = objects.read(name)
    if [b"%d" % winner for winner in winners] != [kept]:
        raise SettingsError(
            f"the store at {objects.root} let {len(winners)} of {WRITERS} writers of {objects.uri(name)} win: its "
            "conditional create is not atomic, so two runs could publish over each other.",
            hint=HINT,
        )
