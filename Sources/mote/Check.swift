// `mote check`: everything that is wrong with the configuration, or what is in force.

import AgentConfiguration
import Bytes
import LinuxHost

/// Checks what `invocation` names and prints the settings in force.
@inline(never)  // beside the frame in which the agent runs
func check(_ invocation: Invocation, _ arguments: borrowing Arguments) throws(ExitStatus) {
  var configuration = try loadConfiguration(invocation, arguments, log: nil)
  if try warnAboutClock(&configuration), invocation.isStrict { throw .configuration }
  guard var memory = MemoryBlock() else { throw .system }
  var text = ByteBuffer(memory.takeRest())
  text.append(configuration.settings)
  try printOut(text.span)
}
