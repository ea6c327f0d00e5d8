// Where the control socket is: the agent opens it there, and the commands that ask the agent look for it there.

import Agent
import AgentConfiguration
import Bytes
import HostInterface
import LinuxHost

/// The usual places, in the order in which they are tried: units make folders there for what runs, and what is kept.
var usualControlPlaces: WordList { WordList("/run/mote/control|/var/lib/mote/control") }

/// Opens the control socket that `settings` name.
///
/// - Returns: why there is none.
@inline(never)
func openControl(_ settings: borrowing Settings, _ host: inout LinuxHost) -> ControlFailure? {
  let path = settings.bytes(settings.agent.controlSocket)
  // Quickstart leaves no traces.
  guard !settings.isQuickstart, !path.equals("no") else { return nil }
  guard let owner = number(settings.bytes(settings.agent.controlOwner), in: "/etc/passwd"),
    let group = number(settings.bytes(settings.agent.controlGroup), in: "/etc/group")
  else { return .unknownName }
  var index = 0
  while true {
    let place = path.isEmpty ? usualControlPlaces.word(index) : path
    do throws(ControlFailure) {
      try host.openControl(place, owner: owner, group: group)
      return nil
    } catch {
      index += 1
      // Another agent's is not a reason to be somewhere else.
      if !path.isEmpty || error == .inUse || usualControlPlaces.word(index).isEmpty { return error }
    }
  }
}

/// The number of a user or a group; -1 where none is named, nil where there is none of that name.
private func number(_ name: Span<UInt8>, in file: StaticString) -> Int64? {
  if name.isEmpty { return -1 }
  guard var memory = MemoryBlock() else { return nil }
  var names = ByteBuffer(memory.takeRest())
  let number = ProcessUser.number(of: name, in: file, reading: &names)
  memory.release()
  return number
}

// MARK: Asking

/// Hands the words of the command line on to the running agent, and prints what it answers.
///
/// - Throws: the status that the answer ends with, where that is not 0.
@inline(never)
func ask(_ invocation: Invocation, _ arguments: borrowing Arguments) throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  var request = try takeBuffer(ControlLimits.lineBytesMax, from: &memory.arena)
  try write(&request, invocation, arguments)
  var path = try takeBuffer(Files.pathBytesMax + 1, from: &memory.arena)
  try find(&path, invocation, arguments, from: &memory.arena)
  var answer = ByteBuffer(memory.takeRest())
  let isUsual = path.isEmpty
  var place = 0
  while true {
    if isUsual {
      path.removeAll()
      path.append(usualControlPlaces.word(place))
    }
    do throws(ControlClientFailure) { try ControlClient.ask(path.span, request.span, into: &answer) } catch {
      place += 1
      if isUsual, error == .noAgent, !usualControlPlaces.word(place).isEmpty { continue }
      complain(about: path.span, failureWords.word(Int(error.rawValue)))
      throw error == .notPermitted ? .notPermitted : .unavailable
    }
    return try printAnswer(answer)
  }
}

/// The socket that the command line or the configuration names; nothing for the usual places. What is wrong with a
/// configuration is of no interest here: the agent that runs has read another one, perhaps.
private func find(
  _ path: inout ByteBuffer, _ invocation: Invocation, _ arguments: borrowing Arguments, from arena: inout Arena
) throws(ExitStatus) {
  if let index = invocation.socket { return path.append(arguments[index]) }
  let isRead = readControlSocket(invocation, arguments, from: &arena, into: &path)
  // Whoever may ask the agent need not be one who may read its configuration.
  if let index = invocation.config, !isRead {
    complain(about: arguments[index], failureWords.word(3))
    throw .configuration
  }
}

/// Writes the request: the words as they are, with tabs between them.
private func write(
  _ request: inout ByteBuffer, _ invocation: Invocation, _ arguments: borrowing Arguments
) throws(ExitStatus) {
  var index = 1
  while index < arguments.count {
    let word = arguments[index]
    index += 1
    if index == invocation.config || index == invocation.socket {
      index += 1
      continue
    }
    if !request.isEmpty { request.append(UInt8(ascii: "\t")) }
    // JSON may have several lines: what stands between its tokens may as well be blanks.
    let isJSON = word.starts(with: "{")
    for position in word.indices {
      let byte = word[position]
      let isBreak = byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n")
      if isBreak, !isJSON {
        complain(about: word, failureWords.word(4))
        throw .usage
      }
      request.append(isBreak ? UInt8(ascii: " ") : byte)
    }
  }
  request.append(UInt8(ascii: "\n"))
  guard request.hasOverflowed else { return }
  complain(about: arguments[1], failureWords.word(5))
  throw .usage
}

/// Prints what there is in front of the last line, which says how it went.
private func printAnswer(_ answer: borrowing ByteBuffer) throws(ExitStatus) {
  let text = answer.span
  var start = max(text.count - 1, 0)
  while start > 0, text[start - 1] != UInt8(ascii: "\n") { start -= 1 }
  let end = text.firstIndex(of: UInt8(ascii: " "), from: start) ?? text.count
  guard start + 1 < end, end < text.count, text[start] == UInt8(ascii: "="),
    let code = parseUnsigned(text.extracting((start + 1)..<end))
  else {
    complain(about: text, failureWords.word(2))
    throw .unavailable
  }
  let words = text.extracting((end + 1)..<(text.count - 1))
  if start > 0 {
    try printOut(text.extracting(0..<start))
  } else if code == 0 {
    try printOut(text.extracting((end + 1)..<text.count))
  } else {
    complain(about: words, Span())
  }
  if code != 0 { throw ExitStatus(rawValue: Int32(truncatingIfNeeded: code)) ?? .unavailable }
}

/// In the order of `ControlClientFailure`, and then of our own.
private var failureWords: WordList {
  WordList(
    """
    no agent listens there; it may not run, or have another control-socket (--config, --socket)\
    |no permission; ask as root, as the agent's user, or as one of its control-group|the agent does not answer\
    |cannot be read|has a tab or a line feed in it, for which a JSON string has \\t and \\n\
    |more than 1023 bytes cannot be asked
    """)
}

private func complain(about subject: Span<UInt8>, _ words: Span<UInt8>) {
  say("mote: ")
  _ = StandardStream.error.write(subject)
  if !subject.isEmpty, !words.isEmpty { say(": ") }
  _ = StandardStream.error.write(words)
  say("\n")
}
