// From text, environment and flags to settings.
//
// A program does this, with two blocks of memory: one to read in, given back afterwards, and one for the settings.
//
//     var loader = try SettingsLoader(scratch: &scratch)          // SettingsLoader.scratchByteCount bytes
//     loader.load(bytesOfTheFile, name: path)                     // any number of texts; together they are one
//     loader.apply(EnvironmentVariable.at(index), value: bytes)   // for each variable that is set
//     loader.apply(.port, value: bytes, flag: "--port")           // for each flag that is given
//     if loader.wantsTokenFile { … loader.supplyToken(bytesOfTheFile, isReadableByOthers: …) }
//     let settings = try loader.finish(defaultID: "b827eb123456".bytes, into: &arena)  // nil if anything is wrong
//     for index in 0..<loader.diagnostics.count { … loader.diagnostics.text(at: index) … }
//
// Flags win over the environment, the environment wins over texts; each thing said twice in the same layer is an error.
// Nothing is thrown for what a person wrote: it becomes a diagnostic, and loading goes on, so that all mistakes show
// at once. `settingsByteCount` knows before `finish` how much memory the settings need: their tables have exactly the
// length wanted, their text that of all values and what is made up for missing ones.
//
// Functions marked `@inline(never)` are called from many places: inlined, they made this module an eighth larger.

import Bytes
import HostInterface

/// What wins over what.
enum Layer: UInt8, BitwiseCopyable {
  case board, text, environment, flag
}

/// One thing that was said.
struct Entry: BitwiseCopyable {
  let key: Key
  /// Which of the key's spellings was used.
  let spelling: UInt8
  let layer: Layer
  /// Where the value stands.
  let place: Place
  let value: Text
}

/// One heading.
struct Section: BitwiseCopyable {
  let kind: SectionKind
  let name: Text
  let place: Place
  /// How many of its kind are before it.
  let ordinal: UInt16
  /// The first entry of a named section; the others follow, up to those of the next one.
  let firstEntry: UInt16
  /// What the sensors of an event may need in its payload, as far as they have been read.
  var payloadBytes: UInt32 = 0
}

/// Collects what texts, environment and flags say, then makes settings of it.
public struct SettingsLoader: ~Copyable {
  private let pinned = Pinned()
  /// What was wrong so far; complete and in order after `finish`.
  public var diagnostics: Diagnostics
  var text: ByteBuffer
  /// The first stands for everything that has no name.
  var sections: FixedArray<Section>
  /// The named sections by kind and name.
  var sectionNames: HashIndex
  /// What stands in sections without a name, in variables and in flags: each key once a layer.
  var plainEntries: FixedArray<Entry>
  /// What stands in named sections, section by section.
  var namedEntries: FixedArray<Entry>
  /// The section that is being read; nil in one whose keys are skipped.
  var current: UInt16?
  var currentKind = SectionKind.device
  /// Whether the last entry was a secret: what follows it may be the rest of it.
  var followsSecret = false
  /// Whether it has been said that there is no room for all.
  var isFull = false
  /// Whether a file was not read at all for its encoding: nothing is missed then.
  var isUnread = false
  /// Whether a whole text is missing, so that nothing can be said about what is not in it.
  public internal(set) var isIncomplete = false
  /// The first text, or a name for the whole.
  var mainPlace: Place
  var suppliedToken: Text?

  /// How much memory loading takes, in bytes.
  public static var scratchByteCount: Int {
    Diagnostics.byteCount + ConfigurationLimits.textBytesMax
      + ConfigurationLimits.sectionsMax * MemoryLayout<Section>.stride
      + HashIndex.byteCount(capacity: ConfigurationLimits.sectionsMax)
      + (ConfigurationLimits.plainEntriesMax + ConfigurationLimits.entriesMax) * MemoryLayout<Entry>.stride
      + 9 * 16  // alignment of each piece
  }

  /// Takes `scratchByteCount` bytes from `scratch`.
  public init(scratch: inout Arena) throws(ArenaExhausted) {
    diagnostics = Diagnostics(in: &scratch)
    text = ByteBuffer(capacity: ConfigurationLimits.textBytesMax, for: "configuration", in: &scratch)
    sections = FixedArray(capacity: ConfigurationLimits.sectionsMax, for: "configuration", in: &scratch)
    sectionNames = HashIndex(capacity: ConfigurationLimits.sectionsMax, for: "configuration", in: &scratch)
    plainEntries = FixedArray(capacity: ConfigurationLimits.plainEntriesMax, for: "configuration", in: &scratch)
    namedEntries = FixedArray(capacity: ConfigurationLimits.entriesMax, for: "configuration", in: &scratch)
    mainPlace = Place(origin: diagnostics.origin(named: StaticString("configuration").bytes), column: 0, line: 0)
    _ = sections.append(Section(kind: .device, name: .none, place: mainPlace, ordinal: 0, firstEntry: 0))
    try scratch.check()
  }

  // MARK: What is said

  /// Reads a configuration text; `name` is what diagnostics call it.
  ///
  /// `isReadableByOthers`: the file's permissions, worth a warning when there is a secret in it.
  public mutating func load(_ source: Span<UInt8>, name: Span<UInt8>, isReadableByOthers: Bool = false) {
    let origin = diagnostics.origin(named: name)
    let place = Place(origin: origin, column: 0, line: 0)
    if mainPlace.origin == 0 { mainPlace = place }
    guard source.count <= ConfigurationLimits.fileBytesMax else {
      diagnostics.begin(.error, at: place)
      diagnostics.add("found ")
      diagnostics.add(size: source.count)
      diagnostics.add("; expected at most ")
      diagnostics.add(size: ConfigurationLimits.fileBytesMax)
      diagnostics.end()
      isIncomplete = true
      return
    }
    current = 0
    currentKind = .device
    followsSecret = false
    var reader = INIReader()
    while let line = reader.next(in: source) { handle(line, of: source, reader, origin) }
    if isReadableByOthers { warnAboutPermissions(origin) }
  }

  /// Says that a configuration file could not be read, and why, in words. `finish` will not complain about what is
  /// missing then.
  public mutating func noteUnreadable(name: Span<UInt8>, reason: StaticString) {
    let place = Place(origin: diagnostics.origin(named: name), column: 0, line: 0)
    if mainPlace.origin == 0 { mainPlace = place }
    diagnostics.begin(.error, at: place)
    diagnostics.add("cannot be read: ")
    diagnostics.add(reason)
    diagnostics.end()
    isIncomplete = true
  }

  /// Takes the value of an environment variable; an empty one counts as not set.
  public mutating func apply(_ variable: EnvironmentVariable, value: Span<UInt8>) {
    guard !value.isEmpty else { return }
    add(Spelling.canonicalIndex(of: variable.key), value, .environment, originName: variable.name)
  }

  /// Takes a value from the command line; `flag` is what diagnostics call it.
  public mutating func apply(_ key: Key, value: Span<UInt8>, flag: StaticString) {
    add(Spelling.canonicalIndex(of: key), value, .flag, originName: flag.bytes)
  }

  private mutating func add(_ spelling: Int, _ value: Span<UInt8>, _ layer: Layer, originName: Span<UInt8>) {
    let place = Place(origin: diagnostics.origin(named: originName), column: 0, line: 0)
    add(spelling, value, layer, isNamed: false, at: place)
  }

  // MARK: The board

  /// Whether device management is configured, and `apply` should be called with what the board says of itself.
  public var isManaged: Bool { plainSection(.management) > 0 }

  /// The section of a kind of which there is one; 0 without it.
  @inline(never)
  func plainSection(_ kind: SectionKind) -> Int {
    for index in 1..<max(sections.count, 1) where sections[index].kind == kind { return index }
    return 0
  }

  /// Takes what the board says about itself, which counts where the configuration says nothing. What cannot be used is
  /// nobody's mistake, and left out.
  public mutating func apply(_ key: Key, valueOfBoard value: Span<UInt8>) {
    let trimmed = value.trimmed(0..<value.count)
    let text = value.extracting(trimmed)
    guard isInformation(text) else { return }
    add(Spelling.canonicalIndex(of: key), text, .board, originName: StaticString("board").bytes)
  }

  // MARK: The token's file

  /// Whether a file has the token and `supplyToken` should be called.
  public var wantsTokenFile: Bool { !tokenFilePath.isEmpty }

  /// The path of the token's file; empty when the token is given otherwise or not at all.
  public var tokenFilePath: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let path = text.span.extracting(tokenFile?.value.range ?? 0..<0)
      return _overrideLifetime(path, borrowing: self)
    }
  }

  /// The entry that names the token's file, unless the token itself is given in the same layer or above.
  private var tokenFile: Entry? {
    @inline(never)
    get {
      guard let file = winner(.tokenFile), Values.isAbsolutePath(bytes(file.value)) else { return nil }
      if let token = winner(.token), token.layer.rawValue >= file.layer.rawValue { return nil }
      return file
    }
  }

  /// Takes the bytes of the token's file. A byte order mark in front and one line feed (or CRLF) at the end are not
  /// part of the token; all else is.
  public mutating func supplyToken(_ bytes: Span<UInt8>, isReadableByOthers: Bool) {
    let start = bytes.starts(with: "\u{FEFF}") ? 3 : 0
    var end = bytes.count
    if end > start, bytes[end - 1] == UInt8(ascii: "\n") {
      end -= 1
      if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    }
    guard let file = tokenFile else { return }
    if isReadableByOthers {
      report(.warning, file, "the file can be read by other users; expected mode 0600 or 0640")
    }
    guard end > start, end - start <= ConfigurationLimits.tokenBytesMax else {
      begin(.error, file)
      diagnostics.add("the file has ")
      diagnostics.add(end - start)
      diagnostics.add(" bytes; expected a token of 1 to ")
      diagnostics.add(ConfigurationLimits.tokenBytesMax)
      diagnostics.end()
      suppliedToken = Text.none
      return
    }
    suppliedToken = keep(bytes.extracting(start..<end))
  }

  /// Says that the token's file could not be read, and why, in words.
  public mutating func noteTokenUnreadable(reason: StaticString) {
    guard let file = tokenFile else { return }
    begin(.error, file)
    diagnostics.add("the file cannot be read: ")
    diagnostics.add(reason)
    diagnostics.end()
    suppliedToken = Text.none
  }

  // MARK: Helpers of all that follows

  @_lifetime(borrow self)
  @inline(never)
  func bytes(_ text: Text) -> Span<UInt8> {
    let span = self.text.span.extractingInline(text.range)
    return _overrideLifetime(span, borrowing: self)
  }

  /// Copies `bytes` into the text; nothing when there is no room for them, which is said once.
  @inline(never)
  mutating func keep(_ bytes: Span<UInt8>) -> Text {
    guard bytes.count <= text.freeCount else {
      noteFull()
      return .none
    }
    let offset = text.count
    text.append(bytes)
    return Text(offset: UInt32(offset), length: UInt32(bytes.count))
  }

  @inline(never)
  mutating func noteFull() {
    if isFull { return }
    isFull = true
    diagnostics.begin(.error, at: mainPlace)
    diagnostics.add("more than ")
    diagnostics.add(size: ConfigurationLimits.textBytesMax)
    diagnostics.add(" of values")
    diagnostics.end()
  }

  /// The entry that counts for `key` in `section`: that of the highest layer.
  @inline(never)
  func winner(_ key: Key, in section: Int = 0) -> Entry? {
    if section == 0 { return plainEntries.winner(key, 0..<plainEntries.count) }
    return namedEntries.winner(key, entries(of: section))
  }

  /// Where the entries of a named section are.
  @inline(never)
  func entries(of section: Int) -> Range<Int> {
    let end = section + 1 < sections.count ? Int(sections[section + 1].firstEntry) : namedEntries.count
    return Int(sections[section].firstEntry)..<end
  }

  /// Begins a complaint about an entry: place and the key as it was spelled.
  @inline(never)
  mutating func begin(_ severity: Severity, _ entry: Entry) {
    diagnostics.begin(severity, at: entry.place)
    diagnostics.add(Spelling.at(Int(entry.spelling)).name)
    diagnostics.add(": ")
  }

  /// Begins a complaint about an entry's value, which is shown.
  @inline(never)
  mutating func beginFound(_ severity: Severity, _ entry: Entry) {
    begin(severity, entry)
    diagnostics.add("found ")
    diagnostics.add(quoted: entry.value, of: text)
  }

  /// A whole complaint about an entry: `KEY: MESSAGE`.
  @inline(never)
  mutating func report(_ severity: Severity, _ entry: Entry, _ message: StaticString) {
    begin(severity, entry)
    diagnostics.add(message)
    diagnostics.end()
  }

  /// A whole complaint about an entry's value: `KEY: found "VALUE"MESSAGE`.
  @inline(never)
  mutating func reportFound(_ severity: Severity, _ entry: Entry, _ message: StaticString) {
    beginFound(severity, entry)
    diagnostics.add(message)
    diagnostics.end()
  }
}

extension FixedArray<Entry> {
  /// The entry among those of `range` that counts for `key`: that of the highest layer.
  @inline(never)
  fileprivate func winner(_ key: Key, _ range: Range<Int>) -> Entry? {
    var found: Int?
    for index in range where self[index].key == key {
      if let found, self[found].layer.rawValue >= self[index].layer.rawValue { continue }
      found = index
    }
    return found.map { self[$0] }
  }
}
