// What is said about a command line that is not understood.

import Agent
import AgentConfiguration
import Bytes
import LinuxHost

/// Explains `error` on standard error.
func explain(_ error: UsageError, _ arguments: borrowing Arguments) {
  guard var memory = MemoryBlock() else { return explain(ExitStatus.system) }
  var line = ByteBuffer(memory.takeRest())
  line.append("mote: ")
  switch error {
  case .unknownCommand(let index):
    line.append("unknown command ")
    line.append(quoted: arguments[index])
    line.append("; expected run, quickstart, check, sensors, status, publish, location, diagnose, unmanage, manage, ")
    line.append("firmware, supervise, version or help")
    line.append(nearestTo: arguments[index], of: Command.words)
    line.append(nearestTo: arguments[index], of: ControlVerb.words)
  case .unknownOption(let index):
    line.append("unknown option ")
    line.append(quoted: arguments[index])
    line.append("; `mote help ")
    line.append(arguments[1])
    line.append("` lists those that there are")
    line.append(nearestTo: arguments[index], of: Option.words)
  case .notForCommand(let index):
    line.append("option ")
    line.append(quoted: arguments[index])
    line.append(" does not belong to `")
    line.append(arguments[1])
    line.append(UInt8(ascii: "`"))
  case .missingValue(let index):
    line.append("option ")
    line.append(quoted: arguments[index])
    line.append(" expects a value behind it")
  case .givenTwice(let index):
    line.append("option ")
    line.append(quoted: arguments[index])
    line.append(" is given twice")
  case .surplus(let index):
    line.append("unexpected argument ")
    line.append(quoted: arguments[index])
  case .missingWords: line.append("expected `mote supervise [--key FILE] COMMAND…`")
  case .missingFile: line.append("expected `mote firmware inspect FILE`")
  case .badDuration(let index):
    line.append(quoted: arguments[index])
    line.append(" is no duration; expected a number above 0 with a unit, such as 20s, 5m or 1h")
  case .badSize(let index):
    line.append(quoted: arguments[index])
    line.append(" is no size; expected 4KB or more, with a unit, such as 256KB")
  }
  line.append(UInt8(ascii: "\n"))
  _ = StandardStream.error.write(line.span)
}

extension ByteBuffer {
  /// Appends the word of a list that was probably meant by `text`, if there is one.
  fileprivate mutating func append(nearestTo text: Span<UInt8>, of words: WordList) {
    guard let meant = words.nearest(to: text) else { return }
    append("; did you mean \"")
    append(words.bytes.extracting(meant))
    append("\"?")
  }

  /// Appends `text` in quotes, at most a screen line of it, with what is not printable made `?`.
  @inline(never)
  fileprivate mutating func append(quoted text: Span<UInt8>) {
    append(UInt8(ascii: "\""))
    for index in 0..<min(text.count, 60) {
      append(text[index] >= 0x20 && text[index] != 0x7F ? text[index] : UInt8(ascii: "?"))
    }
    append(UInt8(ascii: "\""))
  }
}
