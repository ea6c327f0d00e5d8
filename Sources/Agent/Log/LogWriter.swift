// Log lines: level, component, event, key=value pairs; streamed into one buffer, never joined from strings.

import AgentConfiguration
import Bytes
import HostInterface
import JSON

/// Builds one log line at a time. Lines below the level cost nothing but the comparison.
///
/// Most lines tell of something that somebody else has done, who may do it as often as he likes. So of each kind of
/// line there is a burst at most, and from then on one now and then; how many were left out is told.
public struct LogWriter: ~Copyable {
  /// The longest line, in bytes; a longer one is cut.
  public static var lineBytesMax: Int { 768 }
  /// How many lines of one kind are written at once: all sensors of the largest configuration may fail together.
  public static var burstMax: Int { ConfigurationLimits.sensorsMax }
  /// The time after which one more line of a kind may be written.
  public static var interval: TimeSpan { .seconds(10) }

  /// The least important level that is written.
  public var threshold: LogLevel
  private var line: ByteBuffer
  private var level = LogLevel.debug
  private var isOpen = false
  private var event: StaticString = ""
  private var limits = LineLimits()
  /// The moment of the present turn.
  private var now = Instant(milliseconds: 0)
  private(set) var diagnosis: Diagnosis
  /// Whether faults of the device's own are collected in `diagnosis`.
  var isDiagnosing = false
  /// When to tell what was left out, or to look at the diagnosis.
  private(set) var nextAccount = Instant.never

  /// Takes room for one line from `arena`.
  ///
  /// - Parameter isManaged: whether there may be somebody to tell of the device's own faults.
  public init(threshold: LogLevel, isManaged: Bool = false, from arena: inout Arena) throws(ArenaExhausted) {
    self.init(threshold: threshold, isManaged: isManaged, in: &arena)
    try arena.check()
  }

  /// The same; see `Arena.check`.
  init(threshold: LogLevel, isManaged: Bool = false, in arena: inout Arena) {
    line = ByteBuffer(capacity: LogWriter.lineBytesMax, for: "log", in: &arena)
    diagnosis = Diagnosis(isManaged: isManaged, in: &arena)
    self.threshold = threshold
  }

  /// What was collected is told.
  mutating func clearDiagnosis() { diagnosis.clear() }

  /// Begins a line; `end` writes it. `event` has the component in front of it, with a blank in between.
  @inline(never)  // small code
  public mutating func begin(_ level: LogLevel, _ event: StaticString) {
    isOpen = level <= threshold || (isDiagnosing && level <= .info)
    guard isOpen else { return }
    self.level = level
    self.event = event
    line.removeAll()
    line.append(level.name)
    line.append(UInt8(ascii: " "))
    line.append(event)
  }

  /// Writes a whole line with one word of our own.
  @inline(never)  // small code: most lines are like this
  public mutating func write<H: HostLog & ~Copyable>(
    _ level: LogLevel, _ event: StaticString, _ key: StaticString, _ word: StaticString, to host: inout H
  ) {
    begin(level, event)
    add(key, word)
    end(to: &host)
  }

  /// Adds a word of our own, which never needs quotes.
  @inline(never)  // small code
  public mutating func add(_ key: StaticString, _ word: StaticString) {
    guard isOpen else { return }
    appendKey(key)
    line.append(word)
  }

  /// Adds a number.
  @inline(never)  // small code
  public mutating func add(_ key: StaticString, _ value: Int) {
    guard isOpen else { return }
    appendKey(key)
    line.append(decimal: value)
  }

  /// Adds a length of time in seconds, tenths included.
  @inline(never)  // small code
  public mutating func add(_ key: StaticString, _ span: TimeSpan) {
    guard isOpen else { return }
    appendKey(key)
    let tenths = (span.milliseconds + 50) / 100
    line.append(decimal: tenths / 10)
    line.append(UInt8(ascii: "."))
    line.append(decimal: (tenths % 10).magnitude)
    line.append(UInt8(ascii: "s"))
  }

  /// Adds a moment.
  @inline(never)  // small code
  public mutating func add(_ key: StaticString, _ time: WallTime) {
    guard isOpen else { return }
    appendKey(key)
    line.append(time)
  }

  /// Adds text from outside: quoted and escaped as a JSON string unless it is plain.
  @inline(never)  // small code
  public mutating func add(_ key: StaticString, text: Span<UInt8>) {
    guard isOpen else { return }
    appendKey(key)
    line.append(logValue: text)
  }

  /// Adds text from another buffer.
  public mutating func add(_ key: StaticString, text: borrowing ByteBuffer) {
    add(key, text: text.span)
  }

  /// Adds the terms of an arena, with blanks in their names made hyphens.
  public mutating func add(termsOf arena: borrowing Arena) {
    guard isOpen else { return }
    for index in 0..<arena.termCount {
      line.append(UInt8(ascii: " "))
      let name = arena.term(index).name.bytes
      for position in name.indices { line.append(name[position] == 0x20 ? UInt8(ascii: "-") : name[position]) }
      line.append(UInt8(ascii: "="))
      line.append(decimal: arena.term(index).byteCount)
    }
  }

  /// Lets a host add what it knows, as ` key=value` pairs.
  public mutating func addLink<H: HostLinks & ~Copyable>(_ slot: LinkSlot, from host: inout H) {
    guard isOpen else { return }
    host.describeLink(slot, into: &line)
  }

  /// Adds the MQTT client identifier of the device that `settings` name.
  mutating func addClientIdentifier(of settings: borrowing Settings) {
    guard isOpen else { return }
    appendKey("client-id")
    line.appendClientIdentifier(of: settings)
  }

  /// Adds the server that `settings` name, with its port.
  mutating func addServer(of settings: borrowing Settings) {
    guard isOpen else { return }
    appendKey("server")
    let host = settings.bytes(settings.server.host)
    // RFC 3986, section 3.2.2: an IPv6 address before a port is in brackets.
    let isIPv6 = host.firstIndex(of: UInt8(ascii: ":")) != nil
    if isIPv6 { line.append(UInt8(ascii: "[")) }
    line.append(host)
    if isIPv6 { line.append(UInt8(ascii: "]")) }
    line.append(UInt8(ascii: ":"))
    line.append(decimal: Int(settings.server.port))
  }

  /// Writes the line.
  @inline(never)  // small code
  public mutating func end<H: HostLog & ~Copyable>(to host: inout H) {
    guard isOpen else { return }
    isOpen = false
    if isDiagnosing, diagnose(event, level, line, now, &diagnosis) { nextAccount = now }
    guard level <= threshold else { return }
    if limits.admit(event, at: now) {
      host.writeLog(level, line.span)
    } else {
      nextAccount = min(nextAccount, now + LogWriter.interval)
    }
  }

  /// A turn of the loop begins.
  ///
  /// - Returns: whether there is a new diagnosis.
  @inline(__always)
  mutating func beginTurn<H: HostLog & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    self.now = now
    guard now >= nextAccount else { return false }
    tellLeftOut(&host)
    return diagnosis.kinds != 0
  }

  /// Tells how many lines of each kind were left out since the last time.
  @inline(never)
  mutating func tellLeftOut<H: HostLog & ~Copyable>(_ host: inout H) {
    nextAccount = .never
    while let (event, count) = limits.takeLeftOut() {
      begin(.warning, "log lines-left-out")
      add("line", text: event.bytes)
      add("count", count)
      isOpen = false
      host.writeLog(.warning, line.span)
    }
  }

  private mutating func appendKey(_ key: StaticString) {
    line.append(UInt8(ascii: " "))
    line.append(key)
    line.append(UInt8(ascii: "="))
  }
}

// As members of one value the two would overlap.
private func diagnose(
  _ event: StaticString, _ level: LogLevel, _ line: borrowing ByteBuffer, _ now: Instant,
  _ diagnosis: inout Diagnosis
) -> Bool {
  diagnosis.take(event, level, line.span, now)
}

extension ByteBuffer {
  /// Appends a value of a log line: as it is when it is plain ASCII without blanks, quotes and `=`, otherwise as a JSON
  /// string, so that no text from outside can forge a line.
  public mutating func append(logValue text: Span<UInt8>) {
    var isPlain = !text.isEmpty
    for index in text.indices {
      let byte = text[index]
      if byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "=")
        || byte == UInt8(ascii: "\\")
      {
        isPlain = false
        break
      }
    }
    if isPlain { append(text) } else { appendJSON(string: text) }
  }
}
