// What the process says when it breaks one of its own rules.

import CLinux

/// Has a failed precondition, which is an illegal instruction, and other ends that only a defect can bring about, write
/// a line before the process ends: `error agent crashed signal=SIGILL at=0x1a2b4`. The offset is one in the file, as
/// `addr2line -e mote.debug` takes it.
public func reportCrashes() { mote_report_crashes() }
