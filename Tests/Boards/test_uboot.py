"""Images of a whole system in two slots, behind real U-Boot that counts tries: one that is good, one that is not."""

import pytest

from emulated.files import FETCHED, ROOT
from emulated.site import INITTAB
from emulated.uboot import TRIES, UBootBoard

pytestmark = [pytest.mark.on_request, pytest.mark.seconds(60)]
# Writes the slot that does not run, reads it back, and has U-Boot try it.
INSTALL = """
case $(cat /proc/cmdline) in *mote.slot=a*) next=b disk=/dev/vda3 ;; *) next=a disk=/dev/vda2 ;; esac
dd if="$1" of=$disk bs=1M conv=fsync 2>/dev/null || exit 1
echo 3 >/proc/sys/vm/drop_caches
head -c "$(stat -c %s "$1")" $disk | cmp - "$1" || exit 1
fw_setenv -s - <<END || exit 1
try_slot=$next
upgrade_available=1
bootcount=0
END
exit 10
"""
# What is tried stays when its agent is connected.
COMMIT = """
until mote status >/dev/null 2>&1; do sleep 1; done
if [ "$(fw_printenv -n upgrade_available)" = 1 ]; then
  fw_setenv -s - <<END
slot=$(fw_printenv -n try_slot)
try_slot=
upgrade_available=0
bootcount=0
END
fi
echo "board: committed $(fw_printenv -n slot)"
exec sleep 1000000
"""
SUPERVISE = "supervise --key /etc/mote/firmware.pub "
COMMITTING = "::respawn:/usr/libexec/mote/commit\n"
# For each installer what is special about it: what a bundle holds, and the section [firmware].
INSTALLERS = {
    "command": ("file", {"run": "/usr/libexec/mote/install"}),
    "partition": ("slot", {"run": "/usr/libexec/mote/slots-uboot", "slot-a": "/dev/vda2", "slot-b": "/dev/vda3"}),
}


@pytest.fixture(scope="module", params=INSTALLERS)
def site(request, make_site):
    kind, keys = INSTALLERS[request.param]
    firmware = {"installer": request.param, "key-file": "/etc/mote/firmware.pub", "compatible": "acme-e7", **keys}
    # With partitions the agent itself commits, and no supervisor may take their record for that of its own slots.
    inittab = INITTAB.read_text()
    inittab = inittab.replace(SUPERVISE, "") if request.param == "partition" else inittab + COMMITTING
    made = make_site("aarch64", board=UBootBoard, inittab=inittab, firmware=firmware,
                     management={"firmware-version": None})
    made.kind = kind
    root = made.board.root
    root.add_tree(FETCHED / "ubootenv-arm64")
    root.add("etc/fw_env.config", "/dev/vda1 0x0 0x4000\n")
    root.add_folder("var/lock")
    root.add_program("usr/libexec/mote/install", f"#!/bin/sh\n{INSTALL}")
    root.add_program("usr/libexec/mote/commit", f"#!/bin/sh\n{COMMIT}")
    root.add_program("usr/libexec/mote/slots-uboot", (ROOT / "Boards/common/slots-uboot").read_text())
    root.add("etc/os-release", "VERSION_ID=1.0\n")
    made.board.fill_first_slot()
    made.board.power_on()
    made.wait_managed()
    return made


def update(site, version, init=None):
    """Has the board install another version, whose process 1 may be another one."""
    site.board.root.add("etc/os-release", f"VERSION_ID={version}\n")
    if init:
        site.board.root.add_program("init", init)
    bundle = site.bundle(version, site.board.image(), "--kind", site.kind)
    said = site.wait_ended(site.download(bundle, version))
    assert said["status"] == 0, said
    return site.wait_ended(site.ask("firmware/update"))


def test_a_good_image_stays(site):
    assert site.version() == "1.0"
    said = update(site, "1.1")
    assert said["status"] == 0, f"{said}\n{site.board.console}"
    assert site.version() == "1.1"
    # It has been tried once, and U-Boot counts no more.
    assert site.board.console.count("start=b slot=a upgrade_available=1 bootcount=1") == 1
    if site.kind == "file":
        site.board.wait_console("board: committed b")
    said = site.wait_ended(site.ask("device/reboot"))
    assert said["status"] == 0, said
    assert "start=b slot=b upgrade_available=0 bootcount=0" in site.board.console and site.version() == "1.1"


def test_a_bad_image_is_rolled_back(site):
    """Its process 1 ends at once: the kernel panics and restarts, three times."""
    said = update(site, "1.2", init="#!/bin/sh\nexit 1\n")
    assert said["status"] != 0, said
    assert site.version() == "1.1"
    for count in range(1, TRIES + 1):
        assert site.board.console.count(f"start=a slot=b upgrade_available=1 bootcount={count}") == 1
    assert "rolled back to b" in site.board.console
    site.event_after_now()
