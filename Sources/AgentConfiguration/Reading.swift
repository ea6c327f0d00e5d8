// What the lines of a text mean: which section is open, which key is meant, and what cannot be meant at all.

import Bytes

extension SettingsLoader {
  mutating func handle(_ line: INILine, of source: Span<UInt8>, _ reader: INIReader, _ origin: UInt8) {
    func place(_ offset: Int) -> Place {
      Place(origin: origin, column: reader.column(of: offset, in: source), line: reader.lineNumber)
    }
    switch line {
    case .empty: return
    case .heading(let kind, let name, let surplus):
      openSection(source.extracting(kind), name: source.extracting(name), at: place(kind.lowerBound))
      followsSecret = false
      // What was meant is clear, so that the lines below need no complaints of their own.
      if let surplus { reportSurplus(at: place(surplus)) }
    case .entry(let key, let value):
      // A value may be empty, then its place is where it would be.
      take(
        key: source.extracting(key), value: source.extracting(value), at: place(key.lowerBound),
        valueAt: place(value.lowerBound))
    case .fault(let fault, let offset):
      // What stands in a line that is not understood is not shown: it may be part of a token.
      report(fault, at: place(offset))
      if fault == .isUTF16 { isUnread = true }
      if fault == .headingUnclosed || fault == .headingEmpty { current = nil }
    }
  }

  private mutating func reportSurplus(at place: Place) {
    diagnostics.begin(.error, at: place)
    diagnostics.add("found text behind the heading; expected nothing, not even a comment")
    diagnostics.end()
  }

  private mutating func report(_ fault: INIFault, at place: Place) {
    diagnostics.begin(fault == .commentNotText ? .warning : .error, at: place)
    switch fault {
    case .noSeparator: diagnostics.add("found a line without \"=\"; expected key = value, a [section] or a # comment")
    case .noKey: diagnostics.add("found nothing before \"=\"; expected key = value")
    case .headingUnclosed: diagnostics.add("found a heading without \"]\"; expected [section]")
    case .headingEmpty: diagnostics.add("found an empty heading; expected [section]")
    case .lineTooLong:
      diagnostics.add("found a longer line; expected at most ")
      diagnostics.add(ConfigurationLimits.lineBytesMax)
      diagnostics.add(" bytes")
    case .notUTF8: diagnostics.add("found a byte that is not UTF-8; expected UTF-8 text")
    case .isUTF16: diagnostics.add("found text in UTF-16; expected UTF-8: save the file in that form")
    case .controlByte: diagnostics.add("found a control character; expected UTF-8 text")
    case .commentNotText: diagnostics.add("found a byte in a comment that is not UTF-8 text")
    }
    diagnostics.end()
  }

  // MARK: Sections

  private mutating func openSection(_ kindWord: Span<UInt8>, name: Span<UInt8>, at place: Place) {
    current = nil
    guard let index = SectionKind.words.index(of: kindWord), let kind = SectionKind(rawValue: UInt8(index)) else {
      reportUnknownSection(kindWord, at: place)
      return
    }
    currentKind = kind
    if kind == .gateway || kind == .application {
      diagnostics.begin(.error, at: place)
      diagnostics.add("[")
      diagnostics.add(plain: kind.name)
      diagnostics.add("]: ")
      diagnostics.add(kind == .gateway ? "gateways" : "applications")
      diagnostics.add(" are not supported yet; expected [device]")
      diagnostics.end()
    }
    if kind.isNamed {
      openNamedSection(kind, name, at: place)
    } else if !name.isEmpty {
      diagnostics.begin(.error, at: place)
      diagnostics.add("found ")
      diagnostics.add(quoted: name)
      diagnostics.add(" in the heading; expected [")
      diagnostics.add(plain: kind.name)
      diagnostics.add("], which has no name")
      diagnostics.end()
      current = 0
    } else {
      openPlainSection(kind, at: place)
    }
  }

  private mutating func openPlainSection(_ kind: SectionKind, at place: Place) {
    current = 0
    // The first section stands for the time before any heading, which is no duplicate of [device].
    for index in 1..<max(sections.count, 1) where sections[index].kind == kind {
      reportDuplicate(kind, .none, at: place, first: sections[index].place)
      return
    }
    append(kind, name: .none, ordinal: 0, at: place)
  }

  private mutating func append(_ kind: SectionKind, name: Text, ordinal: Int, at place: Place) {
    let section = Section(
      kind: kind, name: name, place: place, ordinal: UInt16(ordinal), firstEntry: UInt16(namedEntries.count))
    let isAdded = sections.append(section)
    precondition(isAdded, "there is room for as many sections as each kind may have")
  }

  private mutating func openNamedSection(_ kind: SectionKind, _ name: Span<UInt8>, at place: Place) {
    guard isValidName(name, of: kind, at: place) else { return }
    if let earlier = section(kind, named: name) {
      reportDuplicate(kind, sections[earlier].name, at: place, first: sections[earlier].place)
      return
    }
    let limit = kind.countMax
    let ordinal = count(of: kind)
    guard ordinal < limit else {
      diagnostics.begin(.error, at: place)
      diagnostics.add("found one more [")
      diagnostics.add(plain: kind.name)
      diagnostics.add(" NAME]; expected at most ")
      diagnostics.add(limit)
      diagnostics.end()
      return
    }
    guard name.count <= text.freeCount else {
      noteFull()
      return
    }
    current = UInt16(sections.count)
    sectionNames.add(sections.count, name.hash(seed: kind.rawValue))
    append(kind, name: keep(name), ordinal: ordinal, at: place)
  }

  /// The section of a named kind with this name.
  @inline(never)
  func section(_ kind: SectionKind, named name: Span<UInt8>) -> Int? {
    var candidate = sectionNames.first(name.hash(seed: kind.rawValue))
    while let index = candidate {
      if sections[index].kind == kind, bytes(sections[index].name).equals(name) { return index }
      candidate = sectionNames.next(after: index)
    }
    return nil
  }

  /// How many sections of a named kind there are.
  func count(of kind: SectionKind) -> Int {
    var index = sections.count - 1
    // Sections of one kind mostly stand together, and the last one knows how many are before it.
    while index > 0 {
      if sections[index].kind == kind { return Int(sections[index].ordinal) + 1 }
      index -= 1
    }
    return 0
  }

  private mutating func reportUnknownSection(_ word: Span<UInt8>, at place: Place) {
    diagnostics.begin(.error, at: place)
    diagnostics.add("found unknown section ")
    diagnostics.add(quoted: word)
    diagnostics.add("; expected ")
    diagnostics.add(SectionKind.supported)
    if let meant = SectionKind.words.nearest(to: word) {
      diagnostics.add(didYouMean: SectionKind.words.bytes.extracting(meant))
    }
    diagnostics.end()
  }

  private mutating func reportDuplicate(_ kind: SectionKind, _ name: Text, at place: Place, first: Place) {
    diagnostics.begin(.error, at: place)
    diagnostics.add("found [")
    diagnostics.add(plain: kind.name)
    if !name.isEmpty {
      diagnostics.add(" ")
      diagnostics.add(plain: name, of: text)
    }
    diagnostics.add("] again; expected it once, as at ")
    diagnostics.add(place: first)
    diagnostics.end()
  }

  // MARK: Keys

  private mutating func take(key: Span<UInt8>, value: Span<UInt8>, at place: Place, valueAt valuePlace: Place) {
    guard let section = current else {
      followsSecret = false
      return
    }
    guard let spelling = Spelling.index(of: key, in: currentKind) else {
      reportUnknownKey(key, at: place)
      return
    }
    followsSecret = Spelling.at(spelling).key.isSecret
    add(spelling, value, .text, isNamed: section > 0, at: valuePlace, keyPlace: place)
  }

  private mutating func reportUnknownKey(_ key: Span<UInt8>, at place: Place) {
    diagnostics.begin(.error, at: place)
    if let home = Spelling.home(of: key) {
      diagnostics.add("found key ")
      diagnostics.add(quoted: key)
      diagnostics.add(" in [")
      diagnostics.add(plain: currentKind.name)
      diagnostics.add("]; expected it in [")
      diagnostics.add(plain: home.name)
      diagnostics.add(home.isNamed ? " NAME]" : "]")
    } else {
      let meant = Spelling.nearest(to: key, in: currentKind)
      diagnostics.add("found unknown key ")
      // A line behind a token may be the rest of it, broken by an editor: it is not shown unless it is nearly a key.
      if meant != nil || !followsSecret { diagnostics.add(quoted: key) }
      diagnostics.add(" in [")
      diagnostics.add(plain: currentKind.name)
      diagnostics.add("]; expected ")
      addKeys(of: currentKind)
      if let meant { diagnostics.add(didYouMean: meant.bytes) }
    }
    diagnostics.end()
  }

  private mutating func addKeys(of section: SectionKind) {
    var isFirst = true
    for index in KeyTable.keys.indices where KeyTable.keys[index].isKnown(in: section.keySection) {
      if !isFirst { diagnostics.add(", ") }
      diagnostics.add(KeyTable.keys[index].name)
      isFirst = false
    }
  }

  /// Adds an entry to those of the section that is being read, which `isNamed`, or to those that have none, unless the
  /// same layer has said it already.
  mutating func add(
    _ spelling: Int, _ value: Span<UInt8>, _ layer: Layer, isNamed: Bool, at place: Place, keyPlace: Place? = nil
  ) {
    let key = Spelling.at(spelling).key
    // Old files list keys that they do not use with empty values.
    if value.isEmpty, key.isForeign { return }
    precondition(!isNamed || Int(current ?? 0) == sections.count - 1, "only the last section can get entries")
    let earlier =
      isNamed
      ? namedEntries.first(key, layer, entries(of: sections.count - 1))
      : plainEntries.first(key, layer, 0..<plainEntries.count)
    if let earlier, key != .foreign {
      if layer == .environment { return }
      diagnostics.begin(.error, at: keyPlace ?? place)
      diagnostics.add(Spelling.at(spelling).name)
      diagnostics.add(": found again; expected it once, as at ")
      diagnostics.add(place: earlier)
      diagnostics.end()
      return
    }
    guard value.count <= text.freeCount else {
      noteFull()
      return
    }
    let entry = Entry(key: key, spelling: UInt8(spelling), layer: layer, place: place, value: keep(value))
    let isAdded = isNamed ? namedEntries.append(entry) : plainEntries.append(entry)
    precondition(isAdded, "there is room for each key once")
  }

  /// Warns when a text that others may read contains a secret.
  mutating func warnAboutPermissions(_ origin: UInt8) {
    for index in 0..<plainEntries.count {
      let entry = plainEntries[index]
      guard entry.place.origin == origin, entry.key.isSecret else { continue }
      report(.warning, entry, "the file can be read by other users; expected mode 0600 or 0640, or auth-token-file")
      return
    }
  }
}

extension SectionKind {
  /// How many of a named kind there may be.
  var countMax: Int {
    switch self {
    case .event: ConfigurationLimits.eventsMax
    case .sensor: ConfigurationLimits.sensorsMax
    case .output: ConfigurationLimits.outputsMax
    case .command: ConfigurationLimits.commandsMax
    case .action: ConfigurationLimits.actionsMax
    default: 1
    }
  }
}

extension FixedArray<Entry> {
  /// Where `layer` has said `key` among the entries of `range`.
  fileprivate func first(_ key: Key, _ layer: Layer, _ range: Range<Int>) -> Place? {
    for index in range where self[index].key == key && self[index].layer == layer { return self[index].place }
    return nil
  }
}

extension Diagnostics {
  mutating func add(didYouMean word: Span<UInt8>) {
    add("; did you mean \"")
    add(plain: word)
    add("\"?")
  }

  mutating func add(didYouMean name: Text, of text: borrowing ByteBuffer) {
    add(didYouMean: text.span.extracting(name.range))
  }
}
