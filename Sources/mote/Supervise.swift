// `mote supervise`: starts the program that the slots name.

import Bytes
import LinuxHost

/// Supervises, and ends as the program has ended.
///
/// - Throws: why that could not be begun.
@inline(never)  // beside the frame in which the agent runs
func supervise(_ invocation: Invocation, _ arguments: borrowing Arguments) throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  var supervisor = try makeSupervisor(invocation, arguments, in: &memory.arena)
  supervisor.run()
}

private func makeSupervisor(
  _ invocation: Invocation, _ arguments: borrowing Arguments, in arena: inout Arena
) throws(ExitStatus) -> Supervisor {
  do throws(HostSetupFailure) {
    return try Supervisor(
      folder: stateFolder, key: invocation.key, arguments: arguments, from: invocation.file, in: &arena)
  } catch { throw .system }
}
