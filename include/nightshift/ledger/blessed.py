"""The three blessings of one version, together: the only thing that a promotion can be made from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nightshift.errors import NotBlessed
from nightshift.ledger import blessings
from nightshift.ledger.blessings import KINDS, Blessing, Kind
from nightshift.ledger.entries import Candidate, Stamp
from nightshift.storage import Manifest, Ref, Store

_FROM_STORAGE = object()


class Blessed:
    """Proof that a version has its data, quality and infra blessings. Only ``collect`` makes one.

    Attributes:
        candidate: The version.
        stamps: By kind, where each blessing lies and what it says.
        blessings: By kind.
        data: The data it learned from.
        code: Digest of the code that trained it.
        opponent: The champion that it was judged against; None if there was none.
    """

    def __init__(
        self,
        proof: object,
        *,
        candidate: Candidate,
        found: Mapping[Kind, tuple[Manifest, Blessing]],
        code: str,
    ) -> None:
        if proof is not _FROM_STORAGE:
            raise TypeError("Blessed is made from stored blessings only: use Blessed.collect")
        self.candidate = candidate
        self.blessings = MappingProxyType({kind: blessing for kind, (_, blessing) in found.items()})
        self.stamps = MappingProxyType(
            {
                kind: Stamp(manifest.ref, blessing.digest, blessing.verdict)
                for kind, (manifest, blessing) in found.items()
            }
        )
        self.data: Ref = found["data"][0].ref
        self.code = code
        against = found["quality"][0].result.get("champion_version")
        self.opponent: int | None = None if against is None else int(against)

    @classmethod
    def collect(cls, store: Store, candidate: Candidate, *, quality: Ref, infra: Ref) -> Blessed:
        """Read the blessings of a version and check that they are about it.

        Args:
            store: The model's area.
            candidate: The version.
            quality: What evaluate published about it.
            infra: What deploy published about it. The data blessing is found by what the model was trained on.

        Raises:
            NotBlessed: A blessing is missing, failed, or about another version.
            IntegrityError: A blessing or manifest was changed, or is gone.
            StorageError: The store failed.
        """
        train = store.resolve(candidate.train)
        manifests: dict[Kind, Manifest] = {
            "data": store.resolve(train.inputs["preprocess"]),
            "quality": store.resolve(quality),
            "infra": store.resolve(infra),
        }
        found = {kind: (manifests[kind], blessings.read(store, manifests[kind])) for kind in KINDS}
        for kind, (manifest, blessing) in found.items():
            _require(candidate, kind, manifest, blessing)
        return cls(_FROM_STORAGE, candidate=candidate, found=found, code=train.code)


def _require(candidate: Candidate, kind: Kind, manifest: Manifest, blessing: Blessing) -> None:
    """Raises NotBlessed: The blessing is of another kind, about another version, or failed."""
    name = f"v{candidate.model_version}"
    if blessing.kind != kind:
        raise NotBlessed(
            f"{manifest.ref} carries a {blessing.kind} blessing, where the {kind} blessing of {name} is due."
        )
    if manifest.interval != candidate.interval.key:
        raise NotBlessed(f"{manifest.ref} carries the {kind} blessing of another night than that of {name}.")
    other = blessing.about not in (None, candidate.model_digest)
    # By content: a stage whose work was done before keeps what it published, which names an older version of the same.
    if other or (kind != "data" and not candidate.train.same_content_as(manifest.inputs.get("train"))):
        raise NotBlessed(f"{manifest.ref} carries the {kind} blessing of another model than {name}.")
    if not blessing.counts:
        why = " ".join(check.text for check in blessing.failed)
        raise NotBlessed(
            f"the {kind} blessing of {name} failed: {why}",
            hint="nothing was promoted; a person can waive data and quality: nightshift waive",
        )
