// The sources of one configuration: files kept open, read in place, and shared by the sensors that name them.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// All sources that the configuration's sensors read.
struct SourceTable: ~Copyable {
  private let pinned = Pinned()
  private var sources: FixedArray<Source>
  private var text: ByteBuffer
  /// The sources by kind and place.
  private var places: HashIndex
  private let timeout: TimeSpan
  private var readers = SourceReaders()
  private var lines: LineTable
  /// Whether anything was done here, since this was last set back, that may take a while.
  var haveTakenTime = false

  /// Takes room for `capacity` sources, of which `lineCount` are lines, with `textBytes` of places from `arena`. A
  /// reading that takes longer than `timeout` has failed.
  init(
    capacity: Int, lineCount: Int, textBytes: Int, timeout: TimeSpan, from arena: inout Arena
  ) throws(ArenaExhausted) {
    let textRegion = try arena.take(textBytes, for: "sources")
    let sources = try FixedArray<Source>(capacity: capacity, for: "sources", from: &arena)
    let lines = try FixedArray<Line>(capacity: lineCount, for: "lines", from: &arena)
    places = try HashIndex(capacity: capacity, for: "sources", from: &arena)
    self.sources = sources
    self.lines = LineTable(lines)
    text = ByteBuffer(textRegion)
    self.timeout = timeout
  }

  /// Takes over the readers that an earlier configuration's table has given up, so that their ends are collected.
  mutating func adoptReaders(from earlier: borrowing SourceTable) {
    readers = SourceReaders(copying: earlier.readers)
  }

  /// Adds a source, or finds the one that is the same.
  ///
  /// - Returns: its index; nil when the table is full.
  mutating func open(_ kind: SourceKind, _ argument: Span<UInt8>) -> Int? {
    let place = argument.extracting(kind.description.place(in: argument))
    let hash = place.hash(seed: kind.rawValue)
    var candidate = places.first(hash)
    while let index = candidate {
      if sources[index].kind == kind, text.span.extracting(sources[index].place).equals(place) { return index }
      candidate = places.next(after: index)
    }
    if kind.description.reading == .byBus, let index = shared(place) { return index }
    guard place.count <= text.freeCount else { return nil }
    let source = Source(kind: kind, placeStart: text.count, placeCount: place.count)
    guard sources.append(source) else { return nil }
    text.append(place)
    places.add(sources.count - 1, hash)
    if source.reading == .byLine { addLine(sources.count - 1) }
    if source.reading == .byBus { addPoint(sources.count - 1) }
    return sources.count - 1
  }

  /// Closes everything and ends the readers.
  mutating func close() {
    readers.killAll()
    lines.close()
    for index in 0..<sources.count {
      closeFile(index)
      dropAnswer(index)
    }
    sources.removeAll()
    places.removeAll()
    text.removeAll()
  }

  // MARK: Reading

  /// Begins reading a slow source.
  ///
  /// - Returns: whether `read` has something to say at once.
  @inline(__always)
  mutating func prepare(_ index: Int, roots: borrowing MachineRoots) -> Bool {
    sources[index].mode != .inChild || prepareReader(index, roots: roots)
  }

  /// Whether `prepare` could do something for a source of which it has not been asked.
  var canPrepareMore: Bool { !readers.areAllBusy }

  @inline(never)  // beside the sources that are read in place
  private mutating func prepareReader(_ index: Int, roots: borrowing MachineRoots) -> Bool {
    if sources[index].isBeingRead { return false }
    let now = System.bootTime()
    if sources[index].answer >= 0 {
      // One that nobody wanted in time tells of the past.
      if now <= sources[index].askedAt + answerLife { return true }
      dropAnswer(index)
    }
    if sources[index].failure(at: now) != nil { return true }
    guard readers.hasRoom(afterFailure: sources[index].failure != nil) else {
      guard readers.areStuck(at: now) else { return false }
      sources[index].fail(.timeout, now: now)
      return true
    }
    return !startReader(index, now: now, roots: roots)
  }

  /// See `HostSensors.sourceAge`.
  func age(_ index: Int, at now: Instant) -> TimeSpan {
    sources[index].answer >= 0 ? now - sources[index].askedAt : .zero
  }

  /// How long an answer waits that came too late for an event: the next is not later than that where it can have been.
  private var answerLife: TimeSpan {
    .milliseconds(timeout.milliseconds * (HostLimits.patienceShare + 1) + SourceLimits.answerSlack.milliseconds)
  }

  /// Appends the text of a source; see `Host.readSource`.
  @inline(__always)
  mutating func read(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    // As a rule it is an open file that has not failed, and says something.
    let descriptor = sources[index].descriptor
    if sources[index].mode == .trusted, descriptor >= 0, sources[index].failure == nil,
      System.tryReadingFromStart(descriptor, into: &buffer, byteCountMax: HostLimits.sourceBytesMax)
    {
      return .complete(exponent: 0)
    }
    return readOther(index, into: &buffer, roots: roots)
  }

  @inline(never)  // beside the sources that need no more than one call
  private mutating func readOther(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    if sources[index].reading == .fromArgument {
      buffer.append(text.span.extracting(sources[index].place))
      return .complete(exponent: 0)
    }
    if sources[index].reading == .byLine { return readLine(index, into: &buffer, roots: roots) }
    let start = buffer.count
    let result = readPlace(index, into: &buffer, roots: roots)
    if sources[index].numbers.areTemperatures, ThermalZones.isNeverRead(buffer.span.extracting(start..<buffer.count)) {
      buffer.truncate(to: start)
      return .failed(.neverRead)
    }
    if case .complete = result, sources[index].numbers.areRaw { return convert(index, &buffer, from: start, result) }
    return result
  }

  /// Puts what the source's number is worth in its place. Text that is no number stays, and is refused as such.
  private func convert(_ index: Int, _ buffer: inout ByteBuffer, from start: Int, _ result: SourceRead) -> SourceRead {
    guard let raw = Decimal(parsing: buffer.span.extracting(buffer.span.trimmed(start..<buffer.count))) else {
      return result
    }
    buffer.truncate(to: start)
    let numbers = sources[index].numbers
    guard let value = raw.adding(numbers.offset)?.multiplied(by: numbers.scale) else { return .failed(.outOfRange) }
    buffer.append(value)
    return result
  }

  private mutating func readPlace(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    switch sources[index].mode {
    case .trusted: return readTrusted(index, into: &buffer, roots: roots)
    case .promotedOpen, .promotedByPath: return readPromoted(index, into: &buffer, roots: roots)
    case .inChild:
      guard prepareReader(index, roots: roots) else { return .pending }
      if sources[index].answer >= 0 { return receiveAnswer(index, into: &buffer) }
      return .failed(sources[index].failure ?? .inputOutput)
    }
  }

  private mutating func readTrusted(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    // Clocks are asked only where something has been wrong: healthy sources need no more than one call.
    if sources[index].failure != nil, let failure = sources[index].failure(at: System.bootTime()) {
      return .failed(failure)
    }
    let start = buffer.count
    do throws(Errno) {
      if sources[index].descriptor < 0 { sources[index].descriptor = try openFile(index, roots: roots) }
      let descriptor = sources[index].descriptor
      try System.readFromStart(descriptor, into: &buffer, byteCountMax: HostLimits.sourceBytesMax)
      sources[index].succeed()
      return .complete(exponent: 0)
    } catch {
      buffer.truncate(to: start)
      // The interface may have gone; one of the same name may come.
      closeFile(index)
      if !error.isDriversAnswer { sources[index].fail(error.readFailure, now: System.bootTime()) }
      return .failed(error.readFailure)
    }
  }

  private mutating func openFile(_ index: Int, roots: borrowing MachineRoots) throws(Errno) -> Int32 {
    let place = text.span.extracting(sources[index].place)
    guard let path = roots.path(of: sources[index].kind, place: place) else { throw Errno(code: ENOENT) }
    return try System.openForReading(path)
  }

  private mutating func readPromoted(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    haveTakenTime = true
    let now = System.bootTime()
    let start = buffer.count
    let result: SourceRead
    do throws(Errno) {
      switch sources[index].mode {
      case .promotedOpen:
        let descriptor = sources[index].descriptor
        try System.readFromStart(descriptor, into: &buffer, byteCountMax: HostLimits.sourceBytesMax)
      default: try readByPath(index, into: &buffer, roots: roots)
      }
      sources[index].succeed()
      result = .complete(exponent: sources[index].numbers.exponent)
    } catch {
      buffer.truncate(to: start)
      result = .failed(error.readFailure)
      if !error.isDriversAnswer {
        // It has gone, and what comes in its place has to prove itself. A driver's own error is no reason for that.
        closeFile(index)
        sources[index].mode = .inChild
        sources[index].fail(error.readFailure, now: now)
      } else if error.code == EINVAL || error.code == ESPIPE {
        // Perhaps it can only be read from where it stands, as a child does.
        closeFile(index)
        sources[index].sendBack()
      }
    }
    if System.bootTime() - now > SourceLimits.inlineTimeMax {
      closeFile(index)
      sources[index].sendBack()
    }
    return result
  }

  private mutating func readByPath(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) throws(Errno) {
    let source = sources[index]
    let found = roots.path(of: source.kind, place: text.span.extracting(source.place))
    guard let path = found else { throw Errno(code: ENOENT) }
    guard source.reading == .fileSystemByChild else {
      let descriptor = try System.openForReading(path)
      defer { System.close(descriptor) }
      return try System.readFromStart(descriptor, into: &buffer, byteCountMax: HostLimits.sourceBytesMax)
    }
    var sizes = mote_answer()
    sizes.device = source.device
    guard path.withPointer({ mote_disk_sizes($0, source.wasMounted ? 1 : 0, &sizes) }) == 0 else { throw .last }
    sources[index].note(device: sizes.device, isMounted: sizes.is_mounted != 0)
    buffer.append(diskSizes: sizes)
    // Something else may have been mounted there.
    if FileSystemTrust(statfsNumber: sizes.file_system) != .local { sources[index].mode = .inChild }
  }

  // MARK: Buses

  private mutating func addPoint(_ index: Int) {
    guard let source = ModbusSource(text.span.extracting(sources[index].place)) else { return }
    sources[index].first = source.point.address
    sources[index].count = UInt16(source.valueCount)
  }

  /// A source with whose request those of `place` can be asked for: of the same unit and table, not far away, and not
  /// too many together.
  @inline(never)
  private mutating func shared(_ place: Span<UInt8>) -> Int? {
    guard let wanted = ModbusSource(place) else { return nil }
    let (first, end) = (Int(wanted.point.address), Int(wanted.point.address) + wanted.valueCount)
    for index in 0..<sources.count where sources[index].reading == .byBus {
      let other = text.span.extracting(sources[index].place)
      guard let source = ModbusSource(other), source.canShare(with: wanted),
        other.extracting(0..<source.placeEnd).equals(place.extracting(0..<wanted.placeEnd))
      else { continue }
      let (otherFirst, otherEnd) = (Int(sources[index].first), Int(sources[index].first) + Int(sources[index].count))
      let count = max(end, otherEnd) - min(first, otherFirst)
      guard max(first - otherEnd, otherFirst - end) <= SourceLimits.registerGapMax, count <= wanted.table.countMax
      else { continue }
      sources[index].first = UInt16(min(first, otherFirst))
      sources[index].count = UInt16(count)
      return index
    }
    return nil
  }

  // MARK: Lines

  /// Whether there are any.
  var haveLines: Bool { !lines.isEmpty }

  private mutating func addLine(_ index: Int) {
    let place = sources[index].place
    guard let source = LineSource(text.span.extracting(place)) else { return }
    sources[index].lineQuantity = source.quantity
    sources[index].line = lines.add(
      source, place.lowerBound..<(place.lowerBound + source.placeEnd), source: index, text)
  }

  /// Has lines waited for; asks for those that nobody has asked for yet. Gives the moment at which to look at them.
  @inline(never)  // beside machines without any
  mutating func registerLines(in pollSet: inout PollSet, roots: borrowing MachineRoots) -> Instant {
    lines.register(in: &pollSet, text, roots)
  }

  /// Takes the edges that have come.
  @inline(never)  // beside machines without any
  mutating func takeEdges(from pollSet: borrowing PollSet) { lines.takeEdges(from: pollSet) }

  /// See `HostSensors.nextTellingSource`.
  @inline(__always)
  mutating func nextTelling() -> Int? { lines.newsCount > 0 ? lines.nextTelling() : nil }

  @inline(never)  // beside machines without any
  private mutating func readLine(
    _ index: Int, into buffer: inout ByteBuffer, roots: borrowing MachineRoots
  ) -> SourceRead {
    let now = System.bootTime()
    if let failure = sources[index].failure(at: now) { return .failed(failure) }
    let (line, quantity) = (Int(sources[index].line), sources[index].lineQuantity)
    guard let failure = lines.read(line, quantity, into: &buffer, text, roots) else {
      sources[index].succeed()
      return .complete(exponent: 0)
    }
    sources[index].fail(failure, now: now)
    return .failed(failure)
  }

  // MARK: Readers

  /// - Returns: whether one was started; otherwise the source has failed.
  private mutating func startReader(_ index: Int, now: Instant, roots: borrowing MachineRoots) -> Bool {
    haveTakenTime = true
    precondition(!sources[index].isBeingRead, "a source has one reader at a time")
    precondition(sources[index].answer < 0, "an answer that nobody took would be lost")
    do throws(Errno) {
      sources[index].answer = try readers.start(sources[index], index, text, roots, deadline: now + timeout)
    } catch {
      sources[index].fail(error.isShortage ? .timeout : error.readFailure, now: now)
      return false
    }
    sources[index].isBeingRead = true
    sources[index].askedAt = now
    return true
  }

  @inline(never)  // beside the turns of quick sources
  private mutating func receiveAnswer(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    let now = System.bootTime()
    var answer = mote_answer()
    var file: Int32 = -1
    let descriptor = sources[index].answer
    var free = buffer.freeSpan
    let count = free.withUnsafeMutableBufferPointer {
      mote_receive_answer(descriptor, &answer, $0.baseAddress, min($0.count, HostLimits.sourceBytesMax), &file)
    }
    let failure = Errno(code: count < 0 ? mote_errno() : answer.failure)
    dropAnswer(index)
    guard failure.code == 0 else {
      if file >= 0 { System.close(file) }
      if failure.isDriversAnswer {
        sources[index].succeed()
      } else {
        sources[index].fail(failure.readFailure, now: now)
      }
      return .failed(failure.readFailure)
    }
    if sources[index].reading == .fileSystemByChild { buffer.append(diskSizes: answer) } else { buffer.commit(count) }
    sources[index].note(device: answer.device, isMounted: answer.is_mounted != 0)
    sources[index].numbers = answer.numbers
    sources[index].succeed()
    promote(index, answer, file)
    return .complete(exponent: sources[index].numbers.exponent)
  }

  /// Reads a source here from now on if it has been quick and nothing can stop it from being so.
  private mutating func promote(_ index: Int, _ answer: mote_answer, _ file: Int32) {
    let isQuick = sources[index].noteChildReading(.milliseconds(Int64(answer.milliseconds)))
    let trust = FileSystemTrust(statfsNumber: answer.file_system)
    precondition(sources[index].mode == .inChild && sources[index].descriptor < 0, "only a child's source is promoted")
    if isQuick, file >= 0, trust == .attributes {
      sources[index].mode = .promotedOpen
      sources[index].descriptor = file
      return
    }
    if file >= 0 { System.close(file) }
    let isDisk = sources[index].reading == .fileSystemByChild
    // What has to be found by its name may be another one tomorrow, and looking for it may block.
    let isByPath = isDisk || (answer.is_regular != 0 && sources[index].kind == .file)
    if isQuick, trust == .local, isByPath { sources[index].mode = .promotedByPath }
  }

  /// Whether any reader has not ended.
  var hasReaders: Bool { readers.areRunning }

  /// The moment at which something has to be done here.
  var deadline: Instant { readers.deadline }

  /// Kills the readers whose time is up.
  mutating func expire(now: Instant) {
    while let index = readers.killNext(at: now) {
      sources[index].isBeingRead = false
      dropAnswer(index)
      sources[index].fail(.timeout, now: now)
    }
  }

  /// Collects the readers that have ended.
  mutating func reap() {
    while let ended = readers.reapNext() {
      if let index = ended { sources[index].isBeingRead = false }
    }
  }

  private mutating func closeFile(_ index: Int) {
    if sources[index].descriptor >= 0 { System.close(sources[index].descriptor) }
    sources[index].descriptor = -1
  }

  private mutating func dropAnswer(_ index: Int) {
    if sources[index].answer >= 0 { System.close(sources[index].answer) }
    sources[index].answer = -1
  }
}

extension mote_answer {
  /// What the numbers of the text are; without a scale they are what they say.
  fileprivate var numbers: SourceNumbers {
    var numbers = SourceNumbers(exponent: Int(exponent), areTemperatures: are_temperatures != 0)
    if scale != 0, let offset = Decimal(significand: offset, exponent: Int(offset_exponent)),
      let scale = Decimal(significand: scale, exponent: Int(scale_exponent))
    {
      numbers.offset = offset
      numbers.scale = scale
    }
    return numbers
  }

  /// Notes that, as far as it is known before the text is.
  mutating func note(_ numbers: SourceNumbers) {
    exponent = Int32(truncatingIfNeeded: numbers.exponent)
    are_temperatures = numbers.areTemperatures ? 1 : 0
    offset = numbers.offset.significand
    offset_exponent = Int32(truncatingIfNeeded: numbers.offset.exponent)
    scale = numbers.scale.significand
    scale_exponent = Int32(truncatingIfNeeded: numbers.scale.exponent)
  }
}

extension ByteBuffer {
  /// Appends `TOTAL FREE AVAILABLE` in bytes.
  fileprivate mutating func append(diskSizes answer: mote_answer) {
    append(decimal: answer.disk_bytes.0)
    append(UInt8(ascii: " "))
    append(decimal: answer.disk_bytes.1)
    append(UInt8(ascii: " "))
    append(decimal: answer.disk_bytes.2)
  }
}
