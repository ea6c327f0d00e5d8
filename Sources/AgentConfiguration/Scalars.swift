// From an entry to a value of the wanted kind, or a complaint that says what was found and what was expected.

import Bytes

extension Entry {
  /// Whether numbers without a unit are seconds: in older files, and in variables of other programs.
  var isLegacy: Bool { layer == .environment || Spelling.isLegacy(Int(spelling)) }
}

extension SettingsLoader {
  /// `value`: what holds without it, where that is not what `KeyTable` says.
  @inline(never)
  mutating func boolean(_ key: Key, default value: Bool? = nil) -> Bool {
    winner(key).flatMap { boolean($0) } ?? value ?? key.description.standardBoolean
  }

  @inline(never)
  mutating func boolean(_ entry: Entry) -> Bool? {
    if let value = Values.boolean(bytes(entry.value)) { return value }
    reportFound(.error, entry, "; expected yes or no")
    return nil
  }

  @inline(never)
  mutating func integer(_ key: Key, in section: Int = 0, default value: Int? = nil) -> Int {
    let range = key.description.range
    let value = value ?? key.description.standardCount
    guard let entry = winner(key, in: section) else { return value }
    if let number = parseUnsigned(bytes(entry.value)), number >= UInt64(range.lowerBound),
      number <= UInt64(range.upperBound)
    {
      return Int(number)
    }
    beginFound(.error, entry)
    diagnostics.add("; expected a whole number from ")
    diagnostics.add(range.lowerBound)
    diagnostics.add(" to ")
    diagnostics.add(range.upperBound)
    diagnostics.end()
    return value
  }

  @inline(never)
  mutating func decimal(_ key: Key, in section: Int) -> Decimal {
    let value = key.description.standardDecimal
    guard let entry = winner(key, in: section) else { return value }
    if let number = Decimal(parsing: bytes(entry.value)) { return number }
    reportFound(.error, entry, "; expected a decimal number, as in 0.001 or -12")
    return value
  }

  /// One of the key's words, by its position.
  @inline(never)
  mutating func choice(_ key: Key, in section: Int = 0) -> UInt8 {
    let value = UInt8(key.description.standardCount)
    guard let words = key.description.words else { preconditionFailure("no choice") }
    guard let entry = winner(key, in: section) else { return value }
    if let index = words.index(of: bytes(entry.value)) { return UInt8(index) }
    beginFound(.error, entry)
    diagnostics.add("; expected ")
    diagnostics.add(words)
    if let meant = words.nearest(to: bytes(entry.value)) {
      diagnostics.add(didYouMean: words.bytes.extracting(meant))
    }
    diagnostics.end()
    return value
  }

  /// A time with a unit.
  @inline(never)
  mutating func duration(_ key: Key, in section: Int = 0, default value: TimeSpan? = nil) -> TimeSpan {
    let range = key.description.times
    let mayBeZero = key.description.type == .timeOrZero
    let value = value ?? key.description.standardTime
    guard let entry = winner(key, in: section) else { return value }
    let parsed = Values.duration(bytes(entry.value))
    switch parsed {
    case .amount(let milliseconds):
      let span = TimeSpan.milliseconds(milliseconds)
      if range.contains(span) || (mayBeZero && span == .zero) { return span }
    case .bare(let number):
      let span = TimeSpan.seconds(number)
      if mayBeZero && number == 0 { return .zero }
      if entry.isLegacy && range.contains(span) { return span }
    case .malformed: break
    }
    beginFound(.error, entry)
    if case .bare = parsed, !entry.isLegacy { diagnostics.add(" without a unit") }
    diagnostics.add("; expected a time from ")
    diagnostics.add(range.lowerBound)
    diagnostics.add(" to ")
    diagnostics.add(range.upperBound)
    if mayBeZero { diagnostics.add(", or 0") }
    diagnostics.add(", in ms, s, m, h or d")
    diagnostics.end()
    return value
  }

  /// A size with a unit.
  @inline(never)
  mutating func size(_ key: Key) -> Int {
    let range = key.description.range
    let value = key.description.standardCount
    guard let entry = winner(key) else { return value }
    let parsed = Values.size(bytes(entry.value))
    if case .amount(let size) = parsed, size >= range.lowerBound, size <= range.upperBound { return Int(size) }
    beginFound(.error, entry)
    if case .bare = parsed { diagnostics.add(" without a unit") }
    diagnostics.add("; expected a size from ")
    diagnostics.add(size: range.lowerBound)
    diagnostics.add(" to ")
    diagnostics.add(size: range.upperBound)
    diagnostics.add(", in B, KB or MB")
    diagnostics.end()
    return value
  }

  /// An absolute path, copied; nothing when it is not there or wrong. `isSecret`: it may be a token by mistake.
  @inline(never)
  mutating func path(
    _ key: Key, in section: Int = 0, of settings: inout Settings, isSecret: Bool = false
  ) -> Text {
    guard let entry = winner(key, in: section) else { return .none }
    if Values.isAbsolutePath(bytes(entry.value)) { return settings.keep(bytes(entry.value)) }
    if entry.value.count > ConfigurationLimits.pathBytesMax {
      reportLongPath(entry)
      return .none
    }
    if isSecret {
      begin(.error, entry)
      diagnostics.add("found something else; expected")
    } else {
      beginFound(.error, entry)
      diagnostics.add("; expected")
    }
    diagnostics.add(" an absolute path, as in /etc/mote/file")
    diagnostics.end()
    return .none
  }

  @inline(never)
  mutating func reportLongPath(_ entry: Entry) {
    begin(.error, entry)
    diagnostics.add("found a longer path; expected at most ")
    diagnostics.add(ConfigurationLimits.pathBytesMax)
    diagnostics.add(" bytes")
    diagnostics.end()
  }

  /// A host name or address, copied without brackets.
  @inline(never)
  mutating func host(_ key: Key, of settings: inout Settings) -> Text {
    guard let entry = winner(key) else { return .none }
    let name = withoutBrackets(entry.value)
    if Values.isHost(bytes(name)) { return settings.keep(bytes(name)) }
    reportFound(.error, entry, "; expected a host name or an address, without scheme and port")
    return .none
  }

  /// An IPv6 address as in `[::1]` without its brackets.
  private func withoutBrackets(_ value: Text) -> Text {
    guard value.count > 2, text[value.range.lowerBound] == UInt8(ascii: "["),
      text[value.range.upperBound - 1] == UInt8(ascii: "]")
    else { return value }
    return Text(offset: value.offset + 1, length: value.length - 2)
  }

  /// Says that a key is not there.
  @inline(never)
  mutating func reportMissing(_ key: Key, in section: Int, expected: StaticString) {
    if isUnread { return }
    let place = section == 0 ? mainPlace : sections[section].place
    diagnostics.begin(.error, at: place)
    if section > 0 { addHeading(section) }
    diagnostics.add(key.name)
    diagnostics.add(" is missing; expected ")
    diagnostics.add(expected)
    diagnostics.end()
  }

  /// Adds `[sensor temp]: ` to a complaint.
  @inline(never)
  mutating func addHeading(_ section: Int) {
    diagnostics.add("[")
    diagnostics.add(plain: sections[section].kind.name)
    if sections[section].kind.isNamed {
      diagnostics.add(" ")
      diagnostics.add(plain: sections[section].name, of: text)
    }
    diagnostics.add("]: ")
  }
}
