"""Fuzzes one target in this process: `python -m tests.fuzz.one TARGET FLAG… FOLDER…`, as libFuzzer takes them."""

import sys

import atheris

with atheris.instrument_imports(include=["exporter"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
