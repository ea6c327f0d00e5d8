// The program that installs an image.

import Bytes
import CLinux
import HostInterface

/// The installer, if one runs. It is not ended with us: it may have to end us.
struct Installer: BitwiseCopyable {
  /// What its environment has the version in.
  static var variableName: StaticString { "MOTE_FIRMWARE_VERSION=" }
  /// The longest such variable, in bytes, with what is cut off of longer versions.
  static var variableBytesMax: Int { PathText.bytesMax }

  private var process: pid_t = 0
  private var output: Int32 = -1
  /// What waitpid(2) said once it had ended.
  private var endStatus: Int32?

  var isRunning: Bool { process > 0 }

  mutating func start(
    _ program: UnsafePointer<CChar>, _ argument: UnsafePointer<CChar>, _ slot: UnsafePointer<CChar>?,
    _ variable: UnsafePointer<CChar>
  ) -> Bool {
    precondition(process == 0, "there is one installer at a time")
    var writing: Int32 = -1
    guard mote_output_pipe(&output, &writing) == 0 else { return false }
    process = max(0, mote_start_installer(program, argument, slot, variable, writing))
    System.close(writing)
    endStatus = nil
    if process == 0 { closeOutput() }
    return process > 0
  }

  mutating func poll(output buffer: inout ByteBuffer) -> ProgramState {
    while output >= 0, buffer.freeCount > 0 {
      do throws(Errno) {
        // Each turn reads at least a byte.
        if try System.read(output, into: &buffer, byteCountMax: buffer.freeCount) == 0 { closeOutput() }
      } catch {
        if error.isWouldBlock { break }
        closeOutput()
      }
    }
    guard let status = endStatus else { return .running }
    // What it has left may still hold the other end.
    closeOutput()
    process = 0
    endStatus = nil
    return mote_has_exited(status) != 0
      ? .exited(Int(mote_exit_status(status))) : .signalled(Int(mote_end_signal(status)))
  }

  private mutating func closeOutput() {
    guard output >= 0 else { return }
    System.close(output)
    output = -1
  }

  func stop() {
    guard process > 0, endStatus == nil else { return }
    if kill(-process, SIGKILL) != 0 { kill(process, SIGKILL) }
  }

  func register(in set: inout PollSet) {
    if process > 0, endStatus == nil, output >= 0 { _ = set.add(output, events: Int16(POLLIN)) }
  }

  mutating func reap() {
    guard process > 0, endStatus == nil else { return }
    var status: Int32 = 0
    if waitpid(process, &status, WNOHANG) == process { endStatus = status }
  }
}
