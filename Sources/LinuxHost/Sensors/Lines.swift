// Lines of GPIO chips that are inputs: each is asked for once, whatever sensors it has, and is ours then. Their edges
// wait in the kernel, which wakes the loop for them.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// The name under which the agent has its lines.
public enum LineConsumer {
  /// As others are told who ask for the same.
  public static var name: StaticString { LineRequest.consumer }
}

/// Bounds of how lines are looked at.
enum LineLimits {
  /// How long a line whose edges are only counted is left alone after one: the kernel keeps 1,024 meanwhile.
  static var restTime: TimeSpan { .milliseconds(100) }
  /// Edges that are read at a time, and how often in a row of one line.
  static var edgesAtOnce: Int { 16 }
  static var readingsMax: Int { 128 }
}

/// One line.
struct Line: BitwiseCopyable {
  let options: LineOptions
  /// Where its name is in the sources' text.
  let nameStart: Int
  let nameCount: Int
  /// The source that tells of its edges, or -1: then they are only counted.
  var levelSource = -1
  var wantsCount = false
  /// The request, or -1.
  var descriptor: Int32 = -1
  /// Whether its edges are told.
  var hasEdges = false
  var counter = EdgeCounter(isActive: false, hasFallingEdges: false)
  /// Whether something has happened that nobody has been told of.
  var hasNews = false
  /// Whether its edges wait in the kernel for a while.
  var isResting = false

  var name: Range<Int> { nameStart..<(nameStart + nameCount) }
}

/// All lines that the configuration's sensors read.
struct LineTable: ~Copyable {
  private let pinned = Pinned()
  private var lines: FixedArray<Line>
  /// Watches for edges; -1 until the first line is ours.
  private var watch: Int32 = -1
  private var pollIndex: Int?
  private var isAsked = false
  /// When to look at those that rest.
  private var restEnd = Instant.never
  /// Who has the line that was asked for last in vain.
  private var owner = InlineArray<32, UInt8>(repeating: 0)
  /// Lines that have something to tell.
  private(set) var newsCount = 0

  /// Keeps its lines, as many as there can be, in `lines`.
  init(_ lines: consuming FixedArray<Line>) { self.lines = lines }

  var isEmpty: Bool { lines.count == 0 }

  /// Adds what a source takes of a line, whose name is at `name` of `text`; gives the line's number. There must be room
  /// for as many lines as sources.
  mutating func add(_ source: LineSource, _ name: Range<Int>, source index: Int, _ text: borrowing ByteBuffer) -> UInt16
  {
    var number = 0
    while number < lines.count {
      if lines[number].options == source.options,
        text.span.extracting(lines[number].name).equals(text.span.extracting(name))
      {
        break
      }
      number += 1
    }
    if number == lines.count {
      let isAdded = lines.append(Line(options: source.options, nameStart: name.lowerBound, nameCount: name.count))
      precondition(isAdded, "the plan has room for all lines")
    }
    if source.quantity == .level { lines[number].levelSource = index } else { lines[number].wantsCount = true }
    return UInt16(truncatingIfNeeded: number)
  }

  /// Gives all lines back.
  mutating func close() {
    for index in 0..<lines.count { release(index) }
    if watch >= 0 { System.close(watch) }
    watch = -1
    lines.removeAll()
    newsCount = 0
    restEnd = .never
    isAsked = false
  }

  private mutating func release(_ index: Int) {
    if lines[index].descriptor >= 0 { System.close(lines[index].descriptor) }
    lines[index].descriptor = -1
    lines[index].isResting = false
  }

  // MARK: Edges

  mutating func register(
    in pollSet: inout PollSet, _ text: borrowing ByteBuffer, _ roots: borrowing MachineRoots
  ) -> Instant {
    if !isAsked {
      // Why one cannot be had is told when it is read.
      isAsked = true
      for index in 0..<lines.count where lines[index].descriptor < 0 { _ = ask(index, text, roots) }
    }
    pollIndex = watch >= 0 ? pollSet.add(watch, events: Int16(POLLIN)) : nil
    return newsCount > 0 ? Instant(milliseconds: 0) : restEnd
  }

  mutating func takeEdges(from pollSet: borrowing PollSet) {
    if let pollIndex, pollSet.readyEvents(pollIndex) != 0 {
      for _ in 0..<lines.count {
        guard let index = Int(exactly: mote_next_watched(watch)), index >= 0 else { break }
        _ = drain(index)
        guard lines[index].levelSource < 0 else { continue }
        lines[index].isResting = lines[index].descriptor >= 0
        if restEnd == .never { restEnd = System.bootTime() + LineLimits.restTime }
      }
    }
    if restEnd != .never, restEnd <= System.bootTime() { endRest() }
  }

  /// Those that have gone on rest once more; for the others one edge is enough to look at them.
  private mutating func endRest() {
    restEnd = .never
    for index in 0..<lines.count where lines[index].isResting {
      if drain(index) {
        restEnd = System.bootTime() + LineLimits.restTime
      } else if lines[index].descriptor >= 0 {
        lines[index].isResting = false
        _ = mote_watch_again(watch, lines[index].descriptor, UInt32(index))
      }
    }
  }

  /// Takes the edges of a line; whether there were any.
  @inline(never)
  private mutating func drain(_ index: Int) -> Bool {
    var bytes = InlineArray<768, UInt8>(repeating: 0)
    var hasAny = false
    for _ in 0..<LineLimits.readingsMax where lines[index].hasEdges && lines[index].descriptor >= 0 {
      var span = bytes.mutableSpan
      let descriptor = lines[index].descriptor
      let count = span.withUnsafeMutableBufferPointer { CLinux.read(descriptor, $0.baseAddress, $0.count) }
      if count < LineStructure.eventBytes {
        // Its chip has gone.
        if count >= 0 || !(mote_errno() == EAGAIN || mote_errno() == EINTR) { lose(index) }
        break
      }
      for number in 0..<(count / LineStructure.eventBytes) {
        lines[index].counter.note(LineEdge(bytes.span, at: number * LineStructure.eventBytes))
      }
      hasAny = true
      if count < bytes.count { break }
    }
    if hasAny { noteNews(index) }
    return hasAny
  }

  private mutating func lose(_ index: Int) {
    release(index)
    noteNews(index)
  }

  private mutating func noteNews(_ index: Int) {
    guard lines[index].levelSource >= 0, !lines[index].hasNews else { return }
    lines[index].hasNews = true
    newsCount += 1
  }

  /// The source of one that has something to tell.
  @inline(never)  // beside the turns in which none has
  mutating func nextTelling() -> Int? {
    for index in 0..<lines.count where lines[index].hasNews {
      lines[index].hasNews = false
      newsCount -= 1
      return lines[index].levelSource
    }
    return nil
  }

  // MARK: Values

  /// Appends what a source takes of a line; why not, otherwise.
  mutating func read(
    _ index: Int, _ quantity: LineQuantity, into buffer: inout ByteBuffer, _ text: borrowing ByteBuffer,
    _ roots: borrowing MachineRoots
  ) -> ReadFailure? {
    if lines[index].descriptor < 0, let failure = ask(index, text, roots) {
      if failure == .busy { buffer.append(owner.span.extracting(owner.span.structureName(at: 0))) }
      return failure
    }
    if quantity == .level {
      guard let isActive = level(lines[index].descriptor) else {
        let failure = Errno.last.readFailure
        if failure == .notFound { release(index) }
        return failure
      }
      buffer.append(isActive ? "1" : "0")
      return nil
    }
    _ = drain(index)
    guard lines[index].descriptor >= 0 else { return .notFound }
    guard lines[index].hasEdges else { return .notAvailable }
    switch quantity {
    case .level: break
    case .count: buffer.append(decimal: lines[index].counter.rises)
    case .lost: buffer.append(decimal: lines[index].counter.lost)
    case .frequency: buffer.append(lines[index].counter.takeFrequency())
    }
    return nil
  }

  /// GPIO_V2_LINE_GET_VALUES of the first line of a request.
  private func level(_ descriptor: Int32) -> Bool? {
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    bytes[8] = 1
    var span = bytes.mutableSpan
    return span.control(descriptor, LineRequestNumber.values) ? bytes[0] & 1 == 1 : nil
  }

  // MARK: Asking

  /// Makes a line ours; otherwise says why that cannot be. Of one that somebody has, `owner` is his name then.
  @inline(never)
  private mutating func ask(
    _ index: Int, _ text: borrowing ByteBuffer, _ roots: borrowing MachineRoots
  ) -> ReadFailure? {
    var place = LinePlace()
    if let failure = place.find(text.span.extracting(lines[index].name), roots) { return failure }
    guard let chip = GPIOChip(number: place.chip) else { return .notFound }
    defer { System.close(chip.descriptor) }
    var flags = lines[index].options.flags | LineFlag.input
    if lines[index].wantsCount { flags |= LineFlag.risingEdge }
    if lines[index].levelSource >= 0 { flags |= LineFlag.risingEdge | LineFlag.fallingEdge }
    let period = lines[index].options.debounceMicroseconds
    var descriptor = chip.request(
      place.line, flags, LineAttribute(kind: period > 0 ? .debounce : .none, value: period))
    var hasEdges = true
    // A line without an interrupt has a level all the same.
    if descriptor < 0, mote_errno() == ENXIO, period == 0 {
      hasEdges = false
      flags &= ~(LineFlag.risingEdge | LineFlag.fallingEdge)
      descriptor = chip.request(place.line, flags, LineAttribute(kind: .none, value: 0))
    }
    guard descriptor >= 0 else {
      let failure = Errno.last
      guard failure.code == EBUSY else { return failure.readFailure }
      let line = chip.line(place.line)
      for byte in owner.indices { owner[byte] = line?[LineStructure.secondName + byte] ?? 0 }
      return .busy
    }
    lines[index].descriptor = descriptor
    lines[index].hasEdges = hasEdges
    lines[index].counter = EdgeCounter(
      isActive: level(descriptor) ?? false, hasFallingEdges: flags & LineFlag.fallingEdge != 0)
    guard hasEdges else { return nil }
    if watch < 0 { watch = mote_make_watch() }
    if mote_watch(watch, descriptor, UInt32(index), lines[index].levelSource < 0 ? 1 : 0) == 0 { return nil }
    release(index)
    return .notReady
  }
}

/// Where a line is.
struct LinePlace {
  var chip = -1
  var line: UInt32 = 0

  /// Finds a line by its name, or by chip and number. A name that several have is nobody's: names of lines need not be
  /// unique, and the first would be another one tomorrow.
  @inline(never)
  mutating func find(_ name: Span<UInt8>, _ roots: borrowing MachineRoots) -> ReadFailure? {
    var number = -1
    while let candidate = GPIOChip.next(after: number, roots) {
      number = candidate.number
      let first = candidate.line(named: name, from: 0)
      let isTwice = first.flatMap { candidate.line(named: name, from: $0 + 1) } != nil
      System.close(candidate.descriptor)
      guard let first else { continue }
      if isTwice || chip >= 0 { return .ambiguous }
      chip = number
      line = first
    }
    return chip >= 0 ? nil : findByNumber(name, roots)
  }

  private mutating func findByNumber(_ name: Span<UInt8>, _ roots: borrowing MachineRoots) -> ReadFailure? {
    guard let slash = name.lastIndex(of: UInt8(ascii: "/")),
      let offset = parseUnsigned(name.extracting((slash + 1)..<name.count))
    else { return .notFound }
    let chipName = name.extracting(0..<slash)
    var number = -1
    while let candidate = GPIOChip.next(after: number, roots) {
      number = candidate.number
      let isIt = offset < UInt64(candidate.lineCount) && candidate.isNamed(chipName, roots)
      System.close(candidate.descriptor)
      guard isIt else { continue }
      if chip >= 0 { return .ambiguous }
      chip = number
      line = UInt32(offset)
    }
    return chip >= 0 ? nil : .notFound
  }
}
