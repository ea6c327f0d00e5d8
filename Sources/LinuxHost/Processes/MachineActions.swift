// Restarting the machine, and the one program that acts upon all of it.

import Bytes
import CLinux
import HostInterface

/// The program that acts upon the machine, if one runs. It is not ended with us.
struct MachineActions: BitwiseCopyable {
  /// 0 without one.
  private var process: pid_t = 0
  /// What waitpid(2) said once the process had ended.
  private var endStatus: Int32?

  /// See `HostPower.mayStartAction`.
  func mayStart(_ program: Span<UInt8>) -> Bool {
    if program.isEmpty { return mote_may_reboot() != 0 }
    let path = PathText(program)
    guard let status = System.status(of: path), status.kind == S_IFREG else { return false }
    return path.withPointer { access($0, X_OK) } == 0
  }

  /// See `HostPower.startAction`.
  mutating func start(_ program: Span<UInt8>) -> Bool {
    precondition(process == 0, "there is one action at a time")
    process = max(0, PathText(program).withPointer { mote_start_action($0) })
    endStatus = nil
    return process > 0
  }

  /// See `HostPower.pollAction`.
  mutating func poll() -> ProgramState {
    guard let status = endStatus else { return .running }
    process = 0
    endStatus = nil
    return mote_has_exited(status) != 0
      ? .exited(Int(mote_exit_status(status))) : .signalled(Int(mote_end_signal(status)))
  }

  /// Kills its whole group.
  func stop() {
    guard process > 0, endStatus == nil else { return }
    if kill(-process, SIGKILL) != 0 { kill(process, SIGKILL) }
  }

  /// Collects it if it has ended.
  mutating func reap() {
    guard process > 0, endStatus == nil else { return }
    var status: Int32 = 0
    if waitpid(process, &status, WNOHANG) == process { endStatus = status }
  }
}

extension MachineRoots {
  /// The kernel makes a random one at each start; zeros where it does not tell.
  func bootIdentifier() -> BootIdentifier {
    guard let text = readAttribute(procPath("sys/kernel/random/boot_id")) else { return BootIdentifier(0, 0) }
    var words: (UInt64, UInt64) = (0, 0)
    for index in 0..<text.count {
      guard let digit = text.byte(index).hexDigitValue else { continue }
      words.0 = words.0 << 4 | words.1 >> 60
      words.1 = words.1 << 4 | UInt64(digit)
    }
    return BootIdentifier(words.0, words.1)
  }

  /// What the first watchdog says about the last start.
  func lastStart() -> LastStart {
    var path = classPath("watchdog")
    path.append("/watchdog0/bootstatus")
    guard let text = readAttribute(path), let flags = text.withBytes({ parseUnsigned($0) }) else { return .unknown }
    // WDIOF_CARDRESET and WDIOF_POWERUNDER of linux/watchdog.h.
    return flags & 0x20 != 0 ? .watchdog : flags & 0x10 != 0 ? .power : .unknown
  }
}
