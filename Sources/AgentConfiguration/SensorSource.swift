// `read = KIND:ARGUMENT`, checked as far as that is possible without the machine.

import Bytes
import Fieldbus
import HostInterface

/// A sensor's source as the loader keeps it.
struct SensorSource {
  var kind: SourceKind
  /// Of the loader's text.
  var argument: Text
}

extension SettingsLoader {
  /// The source of a sensor; a constant with a complaint when it is not understood.
  mutating func readSource(_ section: Int) -> SensorSource {
    let none = SensorSource(kind: .constant, argument: .none)
    guard let entry = winner(.read, in: section) else {
      reportMissing(.read, in: section, expected: "KIND:ARGUMENT, as in loadavg:1")
      return none
    }
    let colon = bytes(entry.value).firstIndex(of: UInt8(ascii: ":"))
    let word = entry.value.prefix(colon ?? entry.value.count)
    guard let kind = SourceKind.named(bytes(word)) else {
      reportKind(entry, word)
      return none
    }
    let argument = entry.value.dropFirst(colon == nil ? word.count : word.count + 1)
    let grammar = kind.description.argument
    guard isValid(argument, of: kind.description), (colon == nil) == (grammar == .none) else {
      if grammar == .path || grammar == .pathAndWord, argument.count > ConfigurationLimits.pathBytesMax {
        reportLongPath(entry)
      } else {
        reportArgument(entry, argument, of: kind.description)
      }
      return none
    }
    return SensorSource(kind: kind, argument: argument)
  }

  private func isValid(_ argument: Text, of source: SourceDescription) -> Bool {
    let value = bytes(argument)
    let slash = value.lastIndex(of: UInt8(ascii: "/"))
    switch source.argument {
    case .none: return value.isEmpty
    case .name: return !value.isEmpty && slash == nil
    case .text: return !value.isEmpty
    case .path: return Values.isAbsolutePath(value)
    case .line: return LineSource(value) != nil
    case .register: return ModbusSource(value) != nil
    case .word: return source.word(in: value) != nil
    case .nameAndName:
      guard let slash = value.firstIndex(of: UInt8(ascii: "/")) else { return false }
      return slash > 0 && slash < value.count - 1
    case .interfaceAndWord:
      guard let slash, slash > 0, slash <= ConfigurationLimits.interfaceBytesMax else { return false }
      let interface = value.extracting(0..<slash)
      // The name becomes part of a path.
      return interface.lastIndex(of: UInt8(ascii: "/")) == nil && !interface.equals(".") && !interface.equals("..")
        && source.word(in: value) != nil
    case .pathAndWord:
      guard slash != nil, value[0] == UInt8(ascii: "/"), value.count <= ConfigurationLimits.pathBytesMax else {
        return false
      }
      return source.word(in: value) != nil
    }
  }

  private mutating func reportKind(_ entry: Entry, _ word: Text) {
    var nearest = Nearest()
    var meant: StaticString?
    beginFound(.error, entry)
    diagnostics.add("; expected KIND:ARGUMENT with KIND ")
    for raw in 0..<SourceKind.count {
      guard let name = SourceKind(rawValue: UInt8(raw))?.name else { continue }
      if raw > 0 { diagnostics.add(raw == SourceKind.count - 1 ? " or " : ", ") }
      diagnostics.add(name)
      if nearest.consider(name.bytes, for: bytes(word)) { meant = name }
    }
    if let meant { diagnostics.add(didYouMean: meant.bytes) }
    diagnostics.end()
  }

  private mutating func reportArgument(_ entry: Entry, _ argument: Text, of source: SourceDescription) {
    let word = argument.dropFirst(afterLastSlash(in: bytes(argument)))
    let meant = source.words.nearest(to: bytes(word))
    beginFound(.error, entry)
    diagnostics.add("; expected ")
    let form = source.form.bytes
    if form.isEmpty, !source.words.isEmpty {
      diagnostics.add(source.words, prefix: source.name)
      diagnostics.end()
      return
    }
    diagnostics.add(source.name)
    diagnostics.add(source.argument == .none ? " alone" : ":")
    diagnostics.add(source.form)
    if source.argument == .line {
      diagnostics.add(" or gpio:CHIP/NUMBER with active-low, bias=off|pull-up|pull-down, debounce=1us to 1000ms, or ")
      diagnostics.add(source.words)
      return diagnostics.end()
    }
    if source.argument == .register {
      diagnostics.add(" with PLACE tcp://ADDRESS[:PORT] or /dev/NAME, then unit=0 to 255, one of ")
      diagnostics.add(ModbusTable.words)
      diagnostics.add(" =0 to 65535, and for registers type= of ")
      diagnostics.add(RegisterType.words)
      diagnostics.add(" and order= of ")
      diagnostics.add(RegisterOrder.words)
      return diagnostics.end()
    }
    if source.argument == .path { diagnostics.add(" with an absolute path") }
    if !source.words.isEmpty {
      diagnostics.add(" with ")
      diagnostics.add(plain: form.extracting(afterLastSlash(in: form)..<form.count))
      diagnostics.add(" ")
      diagnostics.add(source.words)
      if let meant { diagnostics.add(didYouMean: source.words.bytes.extracting(meant)) }
    }
    diagnostics.end()
  }

  private func afterLastSlash(in text: Span<UInt8>) -> Int { text.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0 }
}
