"""What a release holds: all of the package and its licence, in the wheel nothing else, in the sdist what builds it.

python .ci/check_dist.py dist
"""

import re
import sys
import tarfile
import zipfile
from collections.abc import Set
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO_DATA = {"kernpot/data/ethanol_gfn2.xyz.gz", "kernpot/data/dry_ice_gfn1.xyz.gz"}
SDIST = {"CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "pyproject.toml", "tests/conftest.py"}


def package_files(root: Path = ROOT) -> set[str]:
    """Every file of the package in the checkout: modules, templates, styles, the marker of its types."""
    found = (path for path in (root / "kernpot").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix() for path in found}


def faults_of_wheel(names: Set[str], expected: Set[str], version: str) -> list[str]:
    """What is wrong with a wheel of these names: files that lack, files that should not be there."""
    about = f"kernpot-{version}.dist-info"
    needed = expected | DEMO_DATA | {f"{about}/licenses/LICENSE", f"{about}/entry_points.txt"}
    faults = [f"the wheel lacks {name}" for name in sorted(needed - names)]
    strange = {name for name in names - needed if not name.startswith(f"{about}/")}
    return faults + [f"the wheel should not hold {name}" for name in sorted(strange)]


def faults_of_sdist(names: Set[str], expected: Set[str]) -> list[str]:
    """What lacks in an sdist of these names, which are relative to its folder."""
    return [f"the sdist lacks {name}" for name in sorted((expected | SDIST) - names)]


def main(folder: Path) -> None:
    """Exit with all faults, or print what was found to be whole."""
    written = re.search(r'^__version__ = "(.+)"$', (ROOT / "kernpot" / "__init__.py").read_text(), flags=re.M)
    if written is None:
        sys.exit('kernpot/__init__.py has no line __version__ = "..."')
    version = written[1]
    wheel, sdist = folder / f"kernpot-{version}-py3-none-any.whl", folder / f"kernpot-{version}.tar.gz"
    if sorted(folder.iterdir()) != sorted([wheel, sdist]):
        sys.exit(f"expected {wheel.name} and {sdist.name} in {folder}, got {[p.name for p in folder.iterdir()]}")
    with zipfile.ZipFile(wheel) as archive:
        faults = faults_of_wheel(set(archive.namelist()), package_files(), version)
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        faults += faults_of_sdist(inside, package_files())
    if faults:
        sys.exit("\n".join(faults))
    print(f"{wheel.name} and {sdist.name} hold all {len(package_files())} files of the package")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
