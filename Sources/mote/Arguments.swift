// The command line: a command, then options. Values stay where the system put them and are named by their index.

import Agent
import AgentConfiguration
import Bytes
import HostInterface
import LinuxHost

/// What the program is asked to do.
enum Command: UInt8 {
  case run, quickstart, check, sensors, firmware, supervise, version, help
  /// Any of `ControlVerb`, which the running agent is asked.
  case ask

  /// Their names, in the order of the cases but for the last.
  static var words: WordList { WordList("run|quickstart|check|sensors|firmware|supervise|version|help") }

  /// The command of this name; nil if there is none.
  init?(named text: Span<UInt8>) {
    if text.equals("--version") {
      self = .version
    } else if text.equals("--help") || text.equals("-h") {
      self = .help
    } else {
      guard let index = Command.words.index(of: text) else {
        guard ControlVerb(named: text) != nil else { return nil }
        self = .ask
        return
      }
      self.init(rawValue: UInt8(index))
    }
  }

  /// Whether the command has this option.
  func accepts(_ option: Option) -> Bool {
    switch (self, option) {
    case (.run, .config), (.run, .duration), (.run, .logLevel), (.run, .logSize): true
    case (.quickstart, .duration), (.quickstart, .logLevel), (.quickstart, .host), (.quickstart, .port),
      (.quickstart, .type), (.quickstart, .id):
      true
    case (.check, .config), (.check, .strict): true
    case (.sensors, .json): true
    case (.firmware, .key), (.supervise, .key): true
    case (.ask, .config), (.ask, .socket): true
    default: false
    }
  }
}

/// An option's meaning.
enum Option: UInt8 {
  case config, duration, logLevel, logSize, host, port, type, id, key, json, strict, socket

  /// Their names, in the order of the cases.
  static var words: WordList {
    WordList("--config|--for|--log-level|--log-size|--host|--port|--type|--id|--key|--json|--strict|--socket")
  }

  /// The option of this name; nil if there is none.
  init?(named text: Span<UInt8>) {
    guard let index = Option.words.index(of: text) else { return nil }
    self.init(rawValue: UInt8(index))
  }
}

/// Why a command line is not understood.
enum UsageError: Error {
  case unknownCommand(argument: Int)
  case unknownOption(argument: Int)
  case notForCommand(argument: Int)
  case missingValue(argument: Int)
  case givenTwice(argument: Int)
  case surplus(argument: Int)
  case badDuration(argument: Int)
  case badSize(argument: Int)
  /// `firmware` without `inspect FILE` behind it.
  case missingFile
  /// `supervise` without the words for the program behind it.
  case missingWords
}

/// A command line that was understood. Indices are of the process's arguments.
struct Invocation {
  var command = Command.help
  /// What `help` is asked about.
  var topic: Command?
  var config: Int?
  var duration: TimeSpan?
  var logLevel: Int?
  /// How large a log that is a file may become, in bytes; 0 for no bound.
  var logBytesMax = 0
  var host: Int?
  var port: Int?
  var type: Int?
  var id: Int?
  var key: Int?
  var socket: Int?
  /// The file that `firmware inspect` looks at, or the first word for what `supervise` starts; 0 for none.
  var file = 0
  var isJSON = false
  /// Whether a warning of `check` is an error.
  var isStrict = false

  /// The smallest bound of a log, in bytes: some lines of the largest size.
  static var logBytesMin: Int { 4096 }

  /// Parses `arguments`, the program's name included. Without any, the invocation asks for help.
  init(_ arguments: borrowing Arguments) throws(UsageError) {
    guard arguments.count > 1 else { return }
    guard let command = Command(named: arguments[1]) else { throw .unknownCommand(argument: 1) }
    self.command = command
    var index = 2
    while index < arguments.count {
      let text = arguments[index]
      if text.equals("--help") || text.equals("-h") {
        topic = self.command
        self.command = .help
        return
      }
      if command == .ask {
        // All other words are the agent's to understand.
        let option = Option(named: text)
        index += option == .config || option == .socket ? try take(option ?? .config, at: index, of: arguments) : 1
        continue
      }
      guard text.starts(with: "-") else {
        if command == .supervise {
          // What stands there is for another version of this program.
          file = index
          break
        }
        if command == .firmware {
          try takeFirmwareWord(at: index, of: arguments)
          index += 1
          continue
        }
        guard self.command == .help, topic == nil else { throw .surplus(argument: index) }
        guard let named = Command(named: text) else { throw .unknownCommand(argument: index) }
        topic = named
        index += 1
        continue
      }
      guard let option = Option(named: text) else { throw .unknownOption(argument: index) }
      guard command.accepts(option) else { throw .notForCommand(argument: index) }
      index += try take(option, at: index, of: arguments)
    }
    if command == .firmware, file == 0 { throw .missingFile }
    if command == .supervise, file == 0 { throw .missingWords }
  }

  /// Notes one of the two words behind `firmware`: what to do, and with which file.
  private mutating func takeFirmwareWord(at index: Int, of arguments: borrowing Arguments) throws(UsageError) {
    if index == 2 {
      guard arguments[index].equals("inspect") else { throw .surplus(argument: index) }
    } else {
      guard file == 0 else { throw .surplus(argument: index) }
      file = index
    }
  }

  /// Notes the option at `index`; gives how many arguments it took.
  private mutating func take(_ option: Option, at index: Int, of arguments: borrowing Arguments) throws(UsageError)
    -> Int
  {
    if option == .json || option == .strict {
      if option == .json { isJSON = true } else { isStrict = true }
      return 1
    }
    let value = index + 1
    guard value < arguments.count else { throw .missingValue(argument: index) }
    let isGiven: Bool
    switch option {
    case .config: isGiven = set(&config, value)
    case .logLevel: isGiven = set(&logLevel, value)
    case .host: isGiven = set(&host, value)
    case .port: isGiven = set(&port, value)
    case .type: isGiven = set(&type, value)
    case .id: isGiven = set(&id, value)
    case .key: isGiven = set(&key, value)
    case .socket: isGiven = set(&socket, value)
    case .duration:
      isGiven = duration != nil
      guard let span = parseDuration(arguments[value]), span > .zero else { throw .badDuration(argument: value) }
      duration = span
    case .logSize:
      isGiven = logBytesMax > 0
      guard let size = parseSize(arguments[value]), size >= Invocation.logBytesMin else {
        throw .badSize(argument: value)
      }
      logBytesMax = size
    case .json, .strict: isGiven = false
    }
    if isGiven { throw .givenTwice(argument: index) }
    return 2
  }

  /// Sets a value; true if it had one.
  private func set(_ value: inout Int?, _ newValue: Int) -> Bool {
    defer { value = newValue }
    return value != nil
  }
}
