"""The real tritonserver, on the CPU, with what `fcnrt server-config --backend fcnrt` writes.

nvidia-pytriton's wheel has the server with the Python backend alone. Its stub wants numpy 1 and the shared library of
its Python. The checks are those of test_tritonserver.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from environments import NotInstalled, python_with, versions
from pythons import ROOT
from summary import Row, tried

HERE = Path(__file__).parent
ENVIRONMENT = ROOT / "build/compatibility/tritonserver"
STUB = "triton_python_backend_stub"
PACKAGES = ("nvidia-pytriton", "numpy<2", f"{ROOT}[cpu]", "pillow")
TESTED = "FCNRT_TEST_TRITON"  # environment: the Python beside which test_tritonserver.py finds a server


def main(names: list[str]) -> list[Row]:
    """The tests of a server in an environment of its own."""
    if names:
        raise SystemExit("tritonserver: takes no words")
    return [tried("tritonserver", row)]


def row() -> Row:
    print("tritonserver: installing", flush=True)
    try:
        version, python = python_with(PACKAGES, ENVIRONMENT, prepare)
    except NotInstalled as reason:
        return Row("tritonserver", f"not run: {reason}")
    have = versions(python)
    of = f"of nvidia-pytriton {have['nvidia-pytriton']}, Python {version}, numpy {have['numpy']}"
    print(f"tritonserver {of}", flush=True)
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "test_tritonserver.py")]
    status = subprocess.run(tests, cwd=ROOT, env={**os.environ, TESTED: str(python)}).returncode
    return Row("tritonserver", f"{'failed' if status else 'passed'}: {of}", failed=status != 0)


def prepare(python: Path) -> None:
    """Put the stub of this Python beside the backend; raises NotInstalled where it would not start."""
    server = server_of(python)
    version = _asked(python, "import sys; print('%d.%d' % sys.version_info[:2])")
    stub = server / f"backends/python/{STUB}"
    shutil.copy(server / f"python_backend_stubs/{version}/{STUB}", stub)
    for program in (stub, server / "bin/tritonserver"):
        program.chmod(0o755)
    linked = subprocess.run(["ldd", stub], env=environment(python), capture_output=True, text=True).stdout
    if missing := [line.split()[0] for line in linked.splitlines() if "not found" in line]:
        raise NotInstalled(f"{', '.join(missing)} is not found")


def server_of(python: Path) -> Path:
    return _packages(python) / "pytriton/tritonserver"


def environment(python: Path) -> dict[str, str]:
    """What the server's process needs to find its libraries, and its stub this Python."""
    libpython = _asked(python, "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")
    libraries = (_packages(python) / "nvidia_pytriton.libs", libpython)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join((str(python.parent), os.environ["PATH"]))
    return {**kept, "PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def _packages(python: Path) -> Path:
    return Path(_asked(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))


def _asked(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
