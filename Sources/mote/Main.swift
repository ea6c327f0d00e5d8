// The program: takes the command line apart and does what it asks for.

import Bytes
import HostInterface
import LinuxHost

// DEVIATION(unsafe-pointer): how C hands arguments over; `Arguments` is the only one that looks at them.
/// Where the C library enters, under the name that the package manager gives to a program's `main`.
@c(mote_main)
func main(_ count: Int32, _ words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
  reportCrashes()
  Environment.hideSecrets()
  guard StartupMemory.isStackSufficient else {
    say("mote: the stack is too small: expected at least 128 KB (ulimit -s, RLIMIT_STACK)\n")
    return ExitStatus.system.rawValue
  }
  return carryOut(Arguments(count: count, words: words)).rawValue
}

/// Does what the command line asks for. Not a part of `main`, whose frame must fit into the smallest stack.
@inline(never)
private func carryOut(_ arguments: borrowing Arguments) -> ExitStatus {
  let invocation: Invocation
  do throws(UsageError) {
    invocation = try Invocation(arguments)
  } catch {
    explain(error, arguments)
    return .usage
  }
  do throws(ExitStatus) {
    switch invocation.command {
    case .run, .quickstart: try run(invocation, arguments)
    case .check: try check(invocation, arguments)
    case .sensors: try listSensors(asJSON: invocation.isJSON)
    case .firmware: try inspectBundle(invocation, arguments)
    case .ask: try ask(invocation, arguments)
    case .supervise: try supervise(invocation, arguments)
    case .version: try printVersion()
    case .help: try printOut(helpText(for: invocation.topic).bytes)
    }
    return .ok
  } catch {
    explain(error)
    return error
  }
}

/// Says why something ends with this status, where that has not been said.
func explain(_ status: ExitStatus) {
  switch status {
  case .system: say("mote: the system refuses memory (ulimit -v, RLIMIT_AS) or file descriptors (ulimit -n)\n")
  case .software: say("mote: the memory is too small for this configuration (ulimit -v, RLIMIT_AS)\n")
  case .output: say("mote: standard output cannot be written\n")
  case .ok, .usage, .data, .configuration, .unavailable, .temporary, .notPermitted, .slotsChanged, .trialFailed: break
  }
}

@inline(never)
func say(_ line: StaticString) { _ = StandardStream.error.write(line.bytes) }

/// Writes to standard output.
func printOut(_ text: Span<UInt8>) throws(ExitStatus) {
  guard StandardStream.output.write(text) else { throw .output }
}

@inline(never)  // beside the frame in which the agent runs
private func printVersion() throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  var line = ByteBuffer(memory.takeRest())
  line.append("mote ")
  line.append(buildVersion)
  line.append(UInt8(ascii: "\n"))
  try printOut(line.span)
}
