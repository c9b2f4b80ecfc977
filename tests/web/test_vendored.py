"""What is not ours among the files that pages load is what its package holds, and says so."""

import gzip
import tomllib
from hashlib import sha256
from pathlib import Path

import llm_audit.web

STATIC = Path(llm_audit.web.__file__).parent / "static"
LIMITS_KB = {"css": 12, "js": 24}  # gzipped


def test_each_vendored_file_is_the_one_that_was_checked() -> None:
    vendored = tomllib.loads((STATIC / "vendored.toml").read_text())
    files = {each["file"] for each in vendored.values()}

    for each in vendored.values():
        assert sha256((STATIC / each["file"]).read_bytes()).hexdigest() == each["sha256"]
        assert each["integrity"].startswith("sha512-")
    assert {path.name for path in STATIC.glob("*.min.js")} == files


def test_pages_load_little() -> None:
    for suffix, limit in LIMITS_KB.items():
        sizes = [len(gzip.compress(path.read_bytes())) for path in STATIC.glob(f"*.{suffix}")]
        assert 0 < sum(sizes) <= limit * 1024, suffix
