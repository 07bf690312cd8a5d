"""Builds the Dockerfile and runs its image without a container engine: with overlay mounts, chroot and setpriv.

What a base image would bring (a Debian with a Python) is stood in for by this machine's own system and Python;
everything else is done as the Dockerfile says. Only the instructions that it uses are known. Takes root and a kernel
with overlayfs. Nothing of the project under test is used here.
"""

import atexit
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

BUILD_SECONDS = 300.0
HIDDEN = ("/root", "/home", "/work", "/tmp", "/srv", "/mnt", "/media", "/run", "/var/tmp")  # noqa: S108 - to be hidden
"""What of this machine a container must not see."""
BASE_PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
MEMORY = "/dev/shm"  # noqa: S108 - each build has a folder of its own in it
PASSED = re.compile(r"(PIP|SSL|REQUESTS)_\w+|https?_proxy|no_proxy", re.IGNORECASE)
"""Variables that a machine may need to reach its package registry."""


class NoContainersError(Exception):
    """This machine cannot do what containers are made of; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine inside the container."""

    source: Path
    path: str
    read_only: bool = True


@dataclass(slots=True)
class Image:
    """A stage of the Dockerfile, built."""

    layer: Path
    """What the stage added to its base."""
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    folder: str = "/"
    user: str = "0:0"
    labels: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    entry_point: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def command(
        self,
        arguments: Sequence[str] | None = None,
        *,
        entry_point: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        user: str | None = None,
    ) -> list[str]:
        """Return the command that runs the image as a kubelet would with the restricted security context.

        The root filesystem cannot be written, no capability is left, none can be gained. The process that the command
        starts becomes the program itself, so that a signal reaches it.
        """
        scratch = Path(tempfile.mkdtemp(prefix="container-", dir=self.layer.parent))
        points = scratch / "mount-points"
        for mount in mounts:
            (points / mount.path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        _base_layer(points)
        root = scratch / "root"
        root.mkdir()
        script = [
            f"mount -t overlay overlay -o lowerdir={points}:{self.layer}:/ {root}",
            *_inside(root, read_only=True),
        ]
        for mount in mounts:
            script.append(f"mount --bind {mount.source} {root}{mount.path}")
            if mount.read_only:
                script.append(f"mount -o remount,bind,ro {root}{mount.path}")
        uid, gid = (user or self.user).split(":")
        variables = self.environment | dict(environment or {})
        process = [
            "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
            "--no-new-privs", "env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            *(self.entry_point if entry_point is None else entry_point),
            *(self.arguments if arguments is None else arguments),
        ]  # fmt: skip
        script.append(f"exec chroot {root} {shlex.join(process)}")
        return _unshared(script)


def _unshared(script: Sequence[str]) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(script)]


def _base_layer(layer: Path) -> None:
    """Put the base image's Python, and the mount points of every container, into a layer."""
    for folder in (sys.base_prefix, "/usr/local/bin", "/proc", "/dev"):
        (layer / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for name in ("python", "python3"):
        (layer / "usr/local/bin" / name).symlink_to(f"{sys.base_prefix}/bin/python{version}")


def _inside(root: Path, *, read_only: bool) -> list[str]:
    """Return the mounts that every container has; what is to be hidden lies under empty folders."""
    # The Python stays where it is: it has been told at its making where its libraries are.
    python = f"{root}{sys.base_prefix}"
    script = []
    for path in HIDDEN:
        hide = f"mount -t tmpfs -o mode=755 tmpfs {root}{path}"
        if sys.base_prefix.startswith(f"{path}/"):
            hide += f"; mkdir -p {python}"
        if read_only:
            hide += f"; mount -o remount,ro {root}{path}"
        script.append(f"if [ -d {root}{path} ]; then {hide}; fi")
    script += [f"mount --bind {sys.base_prefix} {python}", f"mount -o remount,bind,ro {python}"]
    return [*script, f"mount --rbind /proc {root}/proc", f"mount --rbind /dev {root}/dev"]


class Builder:
    """Follows a Dockerfile."""

    def __init__(self, context: Path, folder: Path, dockerfile: str = "Dockerfile") -> None:
        """Take the folder with the Dockerfile, and an empty one to build in."""
        self.context = context
        self.folder = folder
        self.stages: dict[str, Image] = {}
        self.arguments: dict[str, str] = {"BUILDPLATFORM": "linux/amd64"}
        self._ignored = _ignore_rules(context / ".dockerignore")
        self._steps = instructions((context / dockerfile).read_text(encoding="utf-8"))

    def build(self) -> Image:
        """Build every stage and return the last one."""
        image: Image | None = None
        for word, written in self._steps:
            if word == "ARG":
                name, _, default = written.partition("=")
                self.arguments.setdefault(name, default)
                continue
            text = self._filled(written) if word != "RUN" else written
            if word == "FROM":
                image = self._begin(text)
            elif image is None:
                raise ValueError(f"{word} before FROM")
            else:
                self._step(image, word, text)
        if image is None:
            raise ValueError("no FROM")
        return image

    def _begin(self, text: str) -> Image:
        words = [word for word in text.split() if not word.startswith("--")]
        image = Image(self.folder / f"stage-{len(self.stages)}")
        _base_layer(image.layer)
        self.stages[words[2] if len(words) > 2 else str(len(self.stages))] = image
        return image

    def _step(self, image: Image, word: str, text: str) -> None:
        if word == "COPY":
            self._copy(image, text)
        elif word == "RUN":
            self._run(image, text)
        elif word in {"ENV", "LABEL"}:
            into = image.environment if word == "ENV" else image.labels
            for pair in shlex.split(text):
                name, _, value = pair.partition("=")
                into[name] = value.replace("$PATH", image.environment["PATH"])
        elif word == "WORKDIR":
            image.folder = text
            (image.layer / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            image.user = text
        elif word == "EXPOSE":
            image.ports += map(int, text.split())
        elif word == "ENTRYPOINT":
            image.entry_point = json.loads(text)
        elif word == "CMD":
            image.arguments = json.loads(text)
        else:
            raise ValueError(f"{word} is not known here")

    def _copy(self, image: Image, text: str) -> None:
        words = text.split()
        source = words[0].removeprefix("--from=") if words[0].startswith("--from=") else None
        *names, target = words[1:] if source else words
        goal = image.layer / str(Path(image.folder) / target).lstrip("/")
        for name in names:
            origin = (self.stages[source].layer if source else self.context) / name.lstrip("/")
            if not origin.exists():
                raise ValueError(f"COPY {text}: there is no {name}")
            if origin.is_dir():
                shutil.copytree(origin, goal, symlinks=True, dirs_exist_ok=True, ignore=None if source else self._skip)
            elif not source and self.ignores(origin):
                raise ValueError(f"COPY {text}: .dockerignore leaves {name} out")
            else:
                into = goal / origin.name if target.endswith("/") or len(names) > 1 else goal
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, into)

    def _run(self, image: Image, command: str) -> None:
        work, root = (Path(tempfile.mkdtemp(dir=self.folder)) for _ in range(2))
        upper = f"upperdir={image.layer},workdir={work}"
        passed = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        environment = passed | self.arguments | image.environment | {"HOME": "/root"}
        words = [
            "env",
            "-i",
            *(f"{k}={v}" for k, v in environment.items()),
            "sh",
            "-ec",
            f"cd {image.folder}; {command}",
        ]
        script = [
            f"mount -t overlay overlay -o lowerdir=/,{upper} {root}",
            *_inside(root, read_only=False),
            f"exec chroot {root} {shlex.join(words)}",
        ]
        done = subprocess.run(_unshared(script), capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"RUN {command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda m: self.arguments.get(m[1], m[0]), text)

    def _skip(self, folder: str, names: list[str]) -> list[str]:
        return [name for name in names if self.ignores(Path(folder) / name)]

    def ignores(self, file: Path) -> bool:
        """Whether .dockerignore leaves a file out: the last rule that meets it or a folder above it decides."""
        relative = file.relative_to(self.context)
        ignored = False
        for negated, pattern in self._ignored:
            above = [str(relative), *map(str, relative.parents)][:-1]
            anywhere = pattern.removeprefix("**/") if pattern.startswith("**/") else None
            if any(fnmatch(one, pattern) or (anywhere and fnmatch(Path(one).name, anywhere)) for one in above):
                ignored = not negated
        return ignored


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each with the rest of its line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, rest in pairs]


def _ignore_rules(file: Path) -> list[tuple[bool, str]]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [(line.startswith("!"), line.lstrip("!")) for line in lines if line and not line.startswith("#")]


@functools.cache
def built(context: Path) -> Image:
    """Build the Dockerfile of a folder, once for all tests of a run. Raises NoContainersError."""
    require_containers()
    # On another filesystem than the base's, which must not hold the layers that are laid over it.
    folder = Path(tempfile.mkdtemp(prefix="fleet-exporter-image-", dir=MEMORY))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Builder(context, folder).build()


def require_containers() -> None:
    """Raise NoContainersError where this machine cannot run an image."""
    for program in ("unshare", "mount", "chroot", "setpriv"):
        if shutil.which(program) is None:
            raise NoContainersError(f"{program} is missing (Debian: util-linux, coreutils)")
    if not Path(MEMORY).is_mount():
        raise NoContainersError(f"no filesystem in memory at {MEMORY}")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for name in ("upper", "work", "root"):
            (Path(folder) / name).mkdir()
        options = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        tried = subprocess.run(
            _unshared([f"mount -t overlay overlay -o {options} {folder}/root"]),
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    if tried.returncode != 0:
        raise NoContainersError(f"overlay mounts take root and overlayfs: {tried.stderr.strip()}")
