"""Boots a kernel with the programs to run and hands back, line by line, what the guest reports.

The guest's root is an initramfs with busybox, the modules and `init`; the programs are on a disk, an ext4 image,
which is also where they keep their files. The kernel talks on the first serial port, `init` on the second.
"""

import lzma
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import archive
import programs
from suites import Load

ROOT = Path(__file__).resolve().parents[2]
INIT = Path(__file__).parent / "init"
# The disk and its file system.
MODULES = ("virtio_pci", "virtio_blk", "ext4")
FREE_BYTES = 512 << 20
# cx16: qemu 7.2 spoils the flags register in CMPXCHG16B, which kills a kernel that uses it for its free lists.
CPU = "max,-cx16"
# thread=single: with a thread for each processor, qemu 7.2 sometimes keeps translating an instruction that the kernel
# has patched meanwhile (a jump label). Both processors then take its int3 for ever, which looks like a soft lockup.
QEMU = [
    "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", CPU, "-smp", "2", "-m", "1024",
    "-nodefaults", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci",
]  # fmt: skip
# panic=-1 with -no-reboot ends qemu at once; the rest makes for an earlier and steadier start.
CMDLINE = "console=ttyS0 quiet oops=panic panic=-1 random.trust_cpu=on mitigations=off tsc=reliable"
# A network with one server, which swallows all that it gets and never was a socket of this machine's; to nowhere else.
# The device reads the guest's memory itself and sums and cuts packets, so that the kernel need not copy what it sends;
# virtio's does so only in front of a device of the host's that only root can make.
SINK = "10.0.2.100:9"
NETWORK = ["-netdev", f"user,id=net,restrict=on,guestfwd=tcp:{SINK}-null", "-device", "vmxnet3,netdev=net"]
POLL_SECONDS = 0.2


class Lost(Exception):
    """The guest ended, or did not end, before its report did."""


def boot(kernel: archive.Kernel, load: Load, logs: Path, limit: float) -> Iterator[str]:
    """The lines of the guest's report as they come. Its logs stay in `logs`, the rest goes."""
    archive.need_commands("qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "modprobe", "ldd")
    if platform.machine() != "x86_64":
        raise archive.Unavailable(f"the guests are x86_64 and would not run programs of {platform.machine()}")
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ringway-guest-") as scratch:
        initramfs = make_initramfs(kernel, load, Path(scratch))
        disk = make_disk(load, Path(scratch))
        console, report = logs / "console.log", logs / "report.log"
        report.touch()
        command = [
            *QEMU, *NETWORK, "-kernel", kernel.image, "-initrd", initramfs, "-append", CMDLINE,
            "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe",
            "-serial", f"file:{console}", "-serial", f"file:{report}",
        ]  # fmt: skip
        yield from follow(command, console, report, time.monotonic() + limit)


def follow(command: list, console: Path, report: Path, deadline: float) -> Iterator[str]:
    """Runs qemu until the report is complete, the guest is gone, or it is too late."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as qemu:
        try:
            with report.open(errors="replace", newline="\n") as written:
                for line in lines(written, qemu, deadline):
                    yield line
                    if line == "@@DONE":
                        return
        finally:
            qemu.kill()
        complaint = qemu.stderr.read() if qemu.stderr else ""
    raise Lost(f"the guest ended early; its last words:\n{complaint}{last_words(console)}")


def lines(written, qemu: subprocess.Popen, deadline: float) -> Iterator[str]:
    """Whole lines of a file that grows until `qemu` ends."""
    rest = ""
    while True:
        ended = qemu.poll() is not None
        rest += written.read()
        *whole, rest = rest.split("\n")
        yield from (line.rstrip("\r") for line in whole)
        if ended:
            return
        if time.monotonic() > deadline:
            raise Lost("its time is up")
        time.sleep(POLL_SECONDS)


def last_words(console: Path) -> str:
    said = console.read_text(errors="replace").splitlines() if console.exists() else []
    return "\n".join(said[-25:])


def make_initramfs(kernel: archive.Kernel, load: Load, scratch: Path) -> Path:
    root = scratch / "root"
    for folder in ("bin", "dev", "disk", "etc", "modules", "proc", "root", "run", "sys", "tmp", "var"):
        (root / folder).mkdir(parents=True)
    root.chmod(0o755)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (root / "var/tmp").symlink_to("/disk/tmp")
    shutil.copy(INIT, root / "init")
    busybox = Path(shutil.which("busybox") or "busybox")
    shutil.copy(busybox, root / "bin/busybox")
    commands = [Path(found) for command in load.suite.commands if (found := shutil.which(command))]
    for file in [*commands, *programs.libraries([busybox, *commands, *load.programs()])]:
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for folder in (ROOT / name for name in load.suite.folders):
        shutil.copytree(folder, root / folder.relative_to("/"))
    for order, (name, content) in enumerate(module_files(kernel, (*MODULES, *load.suite.modules)).items()):
        (root / "modules" / f"{order:03}-{name}").write_bytes(content)
    return pack(root, scratch / "initramfs")


def module_files(kernel: archive.Kernel, modules: tuple[str, ...]) -> dict[str, bytes]:
    """The modules with what they depend on, in the order of loading."""
    files = {}
    for module in modules:
        # -C: this machine's own rules about modules are not for the guest.
        command = ["modprobe", "-C", "/dev/null", "-d", kernel.tree, "-S", kernel.modules, "--show-depends", module]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for kind, path in (line.split()[:2] for line in shown.splitlines()):
            if kind == "insmod":
                content = Path(path).read_bytes()
                if path.endswith(".xz"):
                    content = lzma.decompress(content)
                files[Path(path).name.removesuffix(".xz")] = content
    return files


def pack(root: Path, archived: Path) -> Path:
    names = "\0".join(str(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))])
    with archived.open("wb") as out:
        command = ["cpio", "--quiet", "--null", "--create", "--format=newc", "--owner=0:0"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=out, check=True)
    return archived


def make_disk(load: Load, scratch: Path) -> Path:
    """An ext4 image with the programs, and the order to run them in."""
    content, image = scratch / "disk", scratch / "disk.img"
    (content / "programs").mkdir(parents=True)
    (content / "tmp").mkdir()
    (content / "tmp").chmod(0o1777)
    plan = ""
    for name, path in load.tests.items():
        file = name.replace(" ", ".").replace("/", ".")
        shutil.copy(path, content / "programs" / file)
        plan += f"{file} {'plain' if name in programs.PRINTERS else 'test'} {load.suite.seconds} {name}\n"
    (content / "plan").write_text(plan)
    (content / "match").write_text(load.match + "\n")
    if load.server:
        shutil.copy(load.server, content / "programs/usmbd")
    size = FREE_BYTES + sum(path.stat().st_size for path in load.programs())
    # Features that the oldest kernel has, whatever this machine's mkfs would choose.
    features = "none,has_journal,dir_index,ext_attr,extent,filetype,large_file,sparse_super"
    command = ["mkfs.ext4", "-q", "-O", features, "-E", "root_owner=0:0", "-d", content, image, f"{size >> 10}k"]
    subprocess.run(command, capture_output=True, check=True)
    shutil.rmtree(content)
    return image
