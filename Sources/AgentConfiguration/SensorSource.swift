// `read = KIND:ARGUMENT`, checked as far as that is possible without the machine.

import Bytes
import HostInterface

/// A sensor's source as the loader keeps it.
struct SensorSource {
  var kind: SourceKind
  /// Of the loader's text.
  var argument: Text
}

extension SourceKind {
  /// In the order of the raw values.
  static var words: WordList {
    WordList("thermal|hwmon|loadavg|memory|uptime|network|disk|cpu|file|constant")
  }

  /// What may stand behind the colon.
  var argumentForm: StaticString {
    switch self {
    case .thermal: "thermal:TYPE"
    case .hwmon: "hwmon:CHIP/LABEL"
    case .loadavg: "loadavg:1, loadavg:5 or loadavg:15"
    case .memory: "memory:FIELD with FIELD "
    case .uptime: "uptime alone"
    case .network: "network:INTERFACE/COUNTER with COUNTER "
    case .disk: "disk:PATH/QUANTITY with QUANTITY "
    case .cpu: "cpu:usage"
    case .file: "file:PATH with an absolute path"
    case .constant: "constant:TEXT"
    }
  }

  /// Words of which the argument, or what stands behind its last slash, must be one.
  var quantities: WordList? {
    switch self {
    case .loadavg: WordList("1|5|15")
    case .memory: WordList("total|free|available|used|buffers|cached|swap-total|swap-free|swap-used")
    case .network:
      WordList(
        "rx-bytes|tx-bytes|rx-packets|tx-packets|rx-errors|tx-errors|rx-dropped|tx-dropped|collisions|multicast")
    case .disk: WordList("free|used|total|available|percent")
    case .cpu: WordList("usage")
    case .thermal, .hwmon, .uptime, .file, .constant: nil
    }
  }
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
    guard let index = SourceKind.words.index(of: bytes(word)), let kind = SourceKind(rawValue: UInt8(index)) else {
      let meant = SourceKind.words.nearest(to: bytes(word))
      beginFound(.error, entry)
      diagnostics.add("; expected KIND:ARGUMENT with KIND ")
      diagnostics.add(SourceKind.words)
      if let meant { diagnostics.add(didYouMean: SourceKind.words.bytes.extracting(meant)) }
      diagnostics.end()
      return none
    }
    let argument = entry.value.dropFirst(colon == nil ? word.count : word.count + 1)
    guard isValid(argument, of: kind), (colon == nil) == (kind == .uptime) else {
      if kind == .file || kind == .disk, argument.count > ConfigurationLimits.pathBytesMax {
        reportLongPath(entry)
      } else {
        reportArgument(entry, argument, of: kind)
      }
      return none
    }
    return SensorSource(kind: kind, argument: argument)
  }

  private func isValid(_ argument: Text, of kind: SourceKind) -> Bool {
    let value = bytes(argument)
    let slash = lastSlash(in: value)
    switch kind {
    case .uptime: return value.isEmpty
    case .thermal: return !value.isEmpty && slash == nil
    case .constant: return !value.isEmpty
    case .file: return Values.isAbsolutePath(value)
    case .loadavg, .memory, .cpu: return isQuantity(value, of: kind)
    case .hwmon:
      guard let slash = value.firstIndex(of: UInt8(ascii: "/")) else { return false }
      return slash > 0 && slash < value.count - 1
    case .network:
      guard let slash, slash > 0, slash <= ConfigurationLimits.interfaceBytesMax else { return false }
      let interface = value.extracting(0..<slash)
      // The name becomes part of a path.
      return lastSlash(in: interface) == nil && !interface.equals(".") && !interface.equals("..")
        && isQuantity(value.extracting((slash + 1)..<value.count), of: kind)
    case .disk:
      guard let slash, value[0] == UInt8(ascii: "/"), value.count <= ConfigurationLimits.pathBytesMax else {
        return false
      }
      return isQuantity(value.extracting((slash + 1)..<value.count), of: kind)
    }
  }

  /// Whether `word` is one of the kind's quantities, in lower case as they are compared later.
  private func isQuantity(_ word: Span<UInt8>, of kind: SourceKind) -> Bool {
    for index in word.indices where word[index] != word[index].lowercased { return false }
    return kind.quantities?.index(of: word) != nil
  }

  private func lastSlash(in value: Span<UInt8>) -> Int? {
    var index = value.count - 1
    while index >= 0, value[index] != UInt8(ascii: "/") { index -= 1 }
    return index >= 0 ? index : nil
  }

  private mutating func reportArgument(_ entry: Entry, _ argument: Text, of kind: SourceKind) {
    let quantityStart = lastSlash(in: bytes(argument)).map { $0 + 1 } ?? 0
    let meant = kind.quantities?.nearest(to: bytes(argument.dropFirst(quantityStart)))
    beginFound(.error, entry)
    diagnostics.add("; expected ")
    diagnostics.add(kind.argumentForm)
    if let quantities = kind.quantities, kind != .loadavg, kind != .cpu {
      diagnostics.add(quantities)
      if let meant { diagnostics.add(didYouMean: quantities.bytes.extracting(meant)) }
    }
    diagnostics.end()
  }
}
