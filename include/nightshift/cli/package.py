"""``nightshift package``: what a cluster needs to run jobs, as files or in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from nightshift.cli.console import MARKS, err, out, print_json
from nightshift.cli.environment import project_of, shown
from nightshift.errors import SettingsError
from nightshift.stamps import python_minor

LOCK = "requirements-job.txt"
NODES = "3.11"


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default="dist",
    metavar="FOLDER",
    show_default=True,
    help="Where to write the archives.",
)
@click.option(
    "--python",
    metavar="X.Y",
    help=f"The Python of the cluster's machines (default: {NODES}, which EMR has; with --code-only this one's).",
)
@click.option(
    "--platform", type=click.Choice(["x86_64", "aarch64"]), default="x86_64", show_default=True, help="Their processor."
)
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The packages of jobs, with hashes (default: {LOCK} beside dags/).",
)
@click.option("--to", "prefix", metavar="URI", help="Upload them below this prefix too, such as s3://bucket/prefix.")
@click.option("--code-only", is_flag=True, help="Only the code archive: for clusters that have the packages.")
@click.option("--json", "as_json", is_flag=True, help="Print paths, digests and versions as JSON.")
def package(
    *,
    folder: Path,
    python: str | None,
    platform: str,
    lock: Path | None,
    prefix: str | None,
    code_only: bool,
    as_json: bool,
) -> None:
    """Build the code archive and the dependency archive into FOLDER: the same bytes for the same code and lock.

    The dependency archive has the packages of jobs for Linux on the cluster's processor, without Spark, which
    the cluster has. Beside them is what starts them; with --to, all of it goes to a store too.
    """
    from nightshift.jobs.archive import build
    from nightshift.jobs.dependencies import PYTHONS
    from nightshift.jobs.release import build_release, upload_release
    from nightshift.settings import Settings

    wanted = python or (python_minor() if code_only else NODES)
    if not PYTHONS.fullmatch(wanted):
        raise SettingsError(f"--python is {wanted!r}.", hint="Nightshift runs on Python 3.11, 3.12 and 3.13")
    if code_only and prefix:
        raise SettingsError("--code-only and --to exclude each other.", hint="a cluster needs both archives")
    where = folder.absolute()
    if code_only:
        _tell({"python": wanted}, {"code": build(where, wanted)}, as_json=as_json)
        return
    names = lock or project_of(Settings.from_environment()) / LOCK
    with err().status("Installing and packing the packages of jobs (about a minute)…"):
        release = build_release(names.absolute(), where, python=wanted, platform=platform)
    told: dict[str, Any] = {"python": wanted, "platform": platform}
    if prefix is not None:
        with err().status(f"Uploading to {escape(prefix)}…"):
            told |= {"to": prefix, "new": upload_release(release, prefix)}
    _tell(told, vars(release), as_json=as_json)


def _tell(told: dict[str, Any], paths: dict[str, Path], *, as_json: bool) -> None:
    from nightshift.jobs.release import facts
    from nightshift.plan import package_version

    if as_json:
        described = {name: {"path": str(path), **facts(path)} for name, path in paths.items()}
        print_json({"code_version": package_version(), **told, **described})
        return
    console = out()
    console.print(" on ".join([f"For Python {told['python']}", *([told["platform"]] if "platform" in told else [])]))
    for path in paths.values():
        uploaded = ("" if path.name in told["new"] else ", was there") if "to" in told else ""
        console.print(f"{MARKS['ok']} {escape(shown(path))}  ({_size(path)}{uploaded})", soft_wrap=True)
    if "to" in told:
        console.print(f"Uploaded to {escape(told['to'])}. Set where Airflow runs:", soft_wrap=True)
        console.print(f"  NIGHTSHIFT_EMR_CODE={escape(told['to'].rstrip('/'))}", soft_wrap=True)
        console.print(f"  NIGHTSHIFT_EMR_DEPENDENCIES={escape(paths['dependencies'].name)}", soft_wrap=True)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e3:,.0f} kB"
