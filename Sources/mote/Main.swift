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
  let arguments = Arguments(count: count, words: words)
  let invocation: Invocation
  do throws(UsageError) {
    invocation = try Invocation(arguments)
  } catch {
    explain(error, arguments)
    return ExitStatus.usage.rawValue
  }
  do throws(ExitStatus) {
    switch invocation.command {
    case .run, .quickstart: try run(invocation, arguments)
    case .check: try check(invocation, arguments)
    case .sensors: try listSensors(asJSON: invocation.isJSON)
    case .firmware: try inspectBundle(invocation, arguments)
    case .version: try printVersion()
    case .help: try printOut(helpText(for: invocation.topic).bytes)
    }
    return ExitStatus.ok.rawValue
  } catch {
    return error.rawValue
  }
}

/// Writes to standard output.
func printOut(_ text: Span<UInt8>) throws(ExitStatus) {
  guard StandardStream.output.write(text) else { throw .output }
}

private func printVersion() throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  var line = ByteBuffer(memory.takeRest())
  line.append("mote ")
  line.append(buildVersion)
  line.append(UInt8(ascii: "\n"))
  try printOut(line.span)
}
