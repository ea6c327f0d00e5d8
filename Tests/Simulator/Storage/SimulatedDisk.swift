// A folder on flash that may lose everything that POSIX lets it lose.
//
// What was written and not flushed is a list of changes for each file, and for the folder a list of what each name has
// stood for. A power cut picks from them: every write to file data by itself, whole, torn at any byte or not at all,
// the length apart from the data, each name apart from the others. A flush empties the list of its file or its folder,
// and of nothing else.

import Bytes
import HostInterface
import Storage
import TestSupport

/// What goes wrong at which call, counted from 0.
public struct DiskFaults {
  /// The power fails during this call: before it, after it, or in the middle of what it wrote.
  public var cutAt: Int?
  /// These calls report an error, where they write or flush.
  public var failing: Set<Int> = []
  /// From this call on every write and flush reports an error.
  public var failingFrom: Int?
  /// How many bytes all files together may have.
  public var capacity = Int.max
  /// Nothing can be written from this call on.
  public var readOnlyFrom: Int?
  /// Whatever is read reports an error.
  public var unreadable = false
  /// Writes take at most so many bytes at once.
  public var writeBytesMax = Int.max

  /// None.
  public init() {}
}

/// A file, whatever names it has.
final class SimulatedFile {
  enum Change {
    case data(offset: Int, bytes: [UInt8])
    case length(Int)
  }

  /// What a reader sees.
  var content: [UInt8] = []
  /// What is on the flash.
  var durable: [UInt8] = []
  /// What is not, in order.
  var pending: [Change] = []
  /// Whether its owner may execute it. It has no history: nobody asks before it is flushed.
  var isExecutable = false
}

/// The disk. Its calls are those of `StorageMedium`.
public final class SimulatedDisk: StorageMedium {
  /// What goes wrong.
  public var faults = DiskFaults()
  /// How many calls there were.
  public private(set) var callCount = 0
  /// Whether the power is off: nothing has any effect until it is back.
  public private(set) var isOff = false
  /// How many bytes were written, and how often something was flushed.
  public private(set) var bytesWritten = 0
  /// The most bytes that all files ever had together.
  public private(set) var peakBytes = 0
  /// How often file or folder were flushed.
  public private(set) var flushCount = 0
  /// The calls, for comparison, while `isTracing`.
  public private(set) var trace: [String] = []
  /// Whether calls are noted.
  public var isTracing = true

  private var names: [String: SimulatedFile] = [:]
  private var durableNames: [String: SimulatedFile] = [:]
  /// What names have stood for since the folder was last flushed, in order.
  private var pendingNames: [(name: String, file: SimulatedFile?)] = []
  private var openFiles: [Int32: SimulatedFile] = [:]
  private var nextDescriptor: Int32 = 3

  /// An empty folder.
  public init() {}

  // MARK: Power

  /// The power comes back: of what was not durable, `fate` decides. Counters begin anew, faults are over.
  public func restart(_ fate: Fate) {
    for name in Set(pendingNames.map(\.name)).sorted() {
      let values = [durableNames[name]] + pendingNames.filter { $0.name == name }.map(\.file)
      // The last one is what comes about when nothing special happens.
      durableNames[name] = values[values.count - 1 - fate.choose(values.count)]
    }
    var seen: Set<ObjectIdentifier> = []
    for name in durableNames.keys.sorted() {
      guard let file = durableNames[name], seen.insert(ObjectIdentifier(file)).inserted else { continue }
      file.durable = onFlash(file, fate.choose)
      file.pending = []
      file.content = file.durable
    }
    names = durableNames
    pendingNames = []
    openFiles = [:]
    faults = DiskFaults()
    (callCount, isOff, trace) = (0, false, [])
  }

  /// What is on the flash of a file when `choose` says which of its changes came there.
  private func onFlash(_ file: SimulatedFile, _ choose: (Int) -> Int) -> [UInt8] {
    var bytes = file.durable
    var lengths = [bytes.count]
    for change in file.pending {
      switch change {
      case .length(let length): lengths.append(length)
      case .data(let offset, let data):
        let kept = data.count - choose(data.count + 1)
        if bytes.count < offset + kept { bytes += Array(repeating: 0, count: offset + kept - bytes.count) }
        bytes.replaceSubrange(offset..<(offset + kept), with: data[0..<kept])
      }
    }
    let length = lengths[lengths.count - 1 - choose(lengths.count)]
    // A length without its data reads as zeros.
    return Array((bytes + Array(repeating: 0, count: max(0, length - bytes.count))).prefix(length))
  }

  /// Counts a call, and says whether it may have an effect. One that changes something has it even where the power
  /// fails in it: what is pending may be lost or torn anyway.
  private func begin(_ call: @autoclosure () -> String, isWriting: Bool) throws(StorageFailure) {
    guard !isOff else { throw .failed }
    let number = callCount
    callCount += 1
    if isTracing { trace.append(call()) }
    if number == faults.cutAt {
      isOff = true
      guard isWriting else { throw .failed }
    }
    if isWriting, let first = faults.readOnlyFrom, number >= first { throw .readOnly }
  }

  private var isFailing: Bool {
    faults.failing.contains(callCount - 1) || faults.failingFrom.map { callCount > $0 } ?? false
  }

  private func file(_ descriptor: Int32) throws(StorageFailure) -> SimulatedFile {
    guard let file = openFiles[descriptor] else { throw .failed }
    return file
  }

  private func text(_ name: borrowing StorageName) -> String { Array(name.span).text }

  private func set(_ name: String, _ file: SimulatedFile?) {
    names[name] = file
    pendingNames.append((name, file))
  }

  private func open(_ file: SimulatedFile) -> Int32 {
    nextDescriptor += 1
    openFiles[nextDescriptor] = file
    return nextDescriptor
  }

  // MARK: Calls

  /// A new file; its content, length and name are three changes.
  public func create(_ name: borrowing StorageName) throws(StorageFailure) -> Int32 {
    let name = text(name)
    try begin("create \(name)", isWriting: true)
    if isFailing || names[name] != nil { throw .failed }
    guard usedBytes < faults.capacity else { throw .noSpace }
    let file = SimulatedFile()
    set(name, file)
    return open(file)
  }

  /// A file that is there.
  public func open(_ name: borrowing StorageName, forWriting: Bool) throws(StorageFailure) -> Int32 {
    let name = text(name)
    try begin("open \(name)", isWriting: false)
    guard let file = names[name] else { throw .notFound }
    if forWriting, let first = faults.readOnlyFrom, callCount > first { throw .readOnly }
    return open(file)
  }

  /// Closes; that flushes nothing.
  public func close(_ descriptor: Int32) throws(StorageFailure) {
    try begin("close", isWriting: false)
    _ = try file(descriptor)
    openFiles[descriptor] = nil
  }

  /// How many bytes a reader sees.
  public func length(of descriptor: Int32) throws(StorageFailure) -> Int {
    try begin("length", isWriting: false)
    return try file(descriptor).content.count
  }

  /// What was written, flushed or not.
  public func read(
    _ descriptor: Int32, at offset: Int, into buffer: inout ByteBuffer, byteCountMax: Int
  ) throws(StorageFailure) -> Int {
    try begin("read", isWriting: false)
    if faults.unreadable { throw .failed }
    let content = try file(descriptor).content
    guard offset < content.count else { return 0 }
    let piece = Array(content[offset...].prefix(min(byteCountMax, faults.writeBytesMax)))
    buffer.append(piece.span)
    return piece.count
  }

  /// Two changes: a longer length, and the data.
  public func write(_ descriptor: Int32, at offset: Int, _ bytes: Span<UInt8>) throws(StorageFailure) -> Int {
    try begin("write \(bytes.count) at \(offset)", isWriting: true)
    let file = try file(descriptor)
    precondition(!bytes.isEmpty)
    if isFailing { throw .failed }
    let growth = max(0, offset + bytes.count - file.content.count)
    let missing = max(0, usedBytes + growth - faults.capacity)
    let piece = Array(Array(bytes).prefix(min(bytes.count - missing, faults.writeBytesMax)))
    guard !piece.isEmpty else { throw .noSpace }
    let end = offset + piece.count
    if file.content.count < end {
      // First, because some file systems write the length before the data.
      file.content += Array(repeating: 0, count: end - file.content.count)
      file.pending.append(.length(end))
    }
    file.content.replaceSubrange(offset..<end, with: piece)
    file.pending.append(.data(offset: offset, bytes: piece))
    bytesWritten += piece.count
    peakBytes = max(peakBytes, usedBytes)
    return piece.count
  }

  /// One change: the length.
  public func truncate(_ descriptor: Int32, to byteCount: Int) throws(StorageFailure) {
    try begin("truncate to \(byteCount)", isWriting: true)
    let file = try file(descriptor)
    if isFailing { throw .failed }
    precondition(byteCount <= file.content.count)
    file.content = Array(file.content.prefix(byteCount))
    file.pending.append(.length(byteCount))
  }

  /// Makes data and length of a file durable, and not its name.
  public func flush(_ descriptor: Int32) throws(StorageFailure) {
    try begin("flush", isWriting: true)
    let file = try file(descriptor)
    if isOff { throw .failed }
    flushCount += 1
    if isFailing {
      // What could not be written counts as clean from now on: readers see it, and no later flush writes it.
      file.pending = []
      throw .failed
    }
    file.durable = onFlash(file) { _ in 0 }
    file.pending = []
  }

  /// Two changes: what the new name stands for, and that the old one stands for nothing.
  public func rename(
    _ name: borrowing StorageName, to newName: borrowing StorageName
  ) throws(StorageFailure) {
    let (name, newName) = (text(name), text(newName))
    try begin("rename \(name) \(newName)", isWriting: true)
    guard let file = names[name] else { throw .notFound }
    if isFailing { throw .failed }
    set(newName, file)
    set(name, nil)
  }

  /// One change: what the name stands for.
  public func remove(_ name: borrowing StorageName) throws(StorageFailure) {
    let name = text(name)
    try begin("remove \(name)", isWriting: true)
    guard names[name] != nil else { throw .notFound }
    if isFailing { throw .failed }
    set(name, nil)
  }

  /// Makes all names durable, and not what they stand for.
  public func flushFolder() throws(StorageFailure) {
    try begin("flush folder", isWriting: true)
    if isOff { throw .failed }
    flushCount += 1
    if isFailing {
      pendingNames = []
      throw .failed
    }
    for (name, file) in pendingNames { durableNames[name] = file }
    pendingNames = []
  }

  /// What is left of the capacity.
  public func freeByteCount() throws(StorageFailure) -> UInt64 {
    try begin("free", isWriting: false)
    return UInt64(max(0, faults.capacity - usedBytes))
  }

  /// Notes it; a file that is made anew has lost it.
  public func makeExecutable(_ descriptor: Int32) throws(StorageFailure) {
    try begin("make executable", isWriting: true)
    let file = try file(descriptor)
    if isFailing { throw .failed }
    file.isExecutable = true
  }

  /// There is no cache.
  public func forgetCache(of descriptor: Int32) {}

  /// All files and their lengths.
  public func forEachFile(_ body: (Span<UInt8>, Int) -> Void) throws(StorageFailure) {
    try begin("list", isWriting: false)
    for (name, file) in names {
      let bytes = Array(name.utf8)
      body(bytes.span, file.content.count)
    }
  }

  // MARK: For tests

  /// The same, flash and what is on its way there, to be restarted by itself. Nothing is open in it.
  public func copy() -> SimulatedDisk {
    var copies: [ObjectIdentifier: SimulatedFile] = [:]
    func copy(_ file: SimulatedFile) -> SimulatedFile {
      if let known = copies[ObjectIdentifier(file)] { return known }
      let other = SimulatedFile()
      (other.content, other.durable, other.pending) = (file.content, file.durable, file.pending)
      copies[ObjectIdentifier(file)] = other
      return other
    }
    let other = SimulatedDisk()
    other.names = names.mapValues(copy)
    other.durableNames = durableNames.mapValues(copy)
    other.pendingNames = pendingNames.map { ($0.name, $0.file.map(copy)) }
    other.isTracing = isTracing
    return other
  }

  /// How many bytes all files have.
  public var usedBytes: Int { names.values.reduce(0) { $0 + $1.content.count } }

  /// The names of all files.
  public var fileNames: [String] { names.keys.sorted() }

  /// What a file has; setting it makes the change durable.
  public subscript(name: String) -> [UInt8]? {
    get { names[name]?.content }
    set {
      let file = newValue.map { bytes in
        let file = SimulatedFile()
        (file.content, file.durable) = (bytes, bytes)
        return file
      }
      (names[name], durableNames[name]) = (file, file)
    }
  }

  /// Damage at rest: one bit of a file is read as the other.
  public func flipBit(_ bit: Int, of name: String) {
    guard var bytes = self[name] else { return }
    bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    self[name] = bytes
  }
}
