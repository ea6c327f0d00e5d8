// One place that sensors are read from, and how far it is trusted.

import Bytes
import Fieldbus
import HostInterface

/// How a source is read at present.
enum SourceMode: UInt8, BitwiseCopyable {
  /// Never blocks by nature (/proc, network counters): read here; the file is opened when it is needed first.
  case trusted
  /// Nothing is known of it yet, or it is slow: a child reads it.
  case inChild
  /// It proved quick, and its open file is read here.
  case promotedOpen
  /// It proved quick on local storage, and is opened and read here each time.
  case promotedByPath
}

/// Bounds of how sources are treated.
enum SourceLimits {
  /// A child's reading within this makes its source fit to be read here.
  static var quickTimeMax: TimeSpan { .milliseconds(5) }
  /// A reading here that takes longer sends its source back to a child. A healthy source stays below it
  /// even on a busy machine.
  static var inlineTimeMax: TimeSpan { .milliseconds(20) }
  /// How much longer than a reading may take its answer is kept for an event that waits for others.
  static var answerSlack: TimeSpan { .seconds(1) }
  /// How long a killed reader may take to end before it counts as stuck in the kernel.
  static var endTimeMax: TimeSpan { .seconds(1) }
  /// How long a source that failed is left alone: at first, and at most after doubling.
  static var retryDelayMin: TimeSpan { .seconds(2) }
  static var retryDelayMax: TimeSpan { .seconds(64) }
  /// Values of a Modbus unit that nobody wants, between two that are read with one request.
  static var registerGapMax: Int { 16 }
  /// How many quick readings in a row are asked at most of a source that has been sent back again and again.
  static var quickReadsNeededMax: UInt16 { 1024 }
}

/// What the kernel's numbers are.
struct SourceNumbers: BitwiseCopyable {
  /// The power of ten that brings them to a unit without prefix.
  var exponent = 0
  /// Whether one of them is the kernel's mark for a temperature that it has never read.
  var areTemperatures = false
  /// Added to them first, and multiplied with the sum: in exact decimals, as the device's files have them.
  var offset = Decimal(0)
  var scale = Decimal(1)

  /// Whether they are not yet what the source is worth.
  var areRaw: Bool { offset.significand != 0 || scale != Decimal(1) }
}

/// A source and what it has shown of itself.
struct Source: BitwiseCopyable {
  let kind: SourceKind
  let reading: SourceReading
  /// Where its place is in the table's text.
  let placeStart: Int
  let placeCount: Int

  var mode: SourceMode
  /// Its open file, or -1.
  var descriptor: Int32 = -1
  /// Where the answer of its reader comes, or -1 when none was asked.
  var answer: Int32 = -1
  /// Whether the reader has not ended yet.
  var isBeingRead = false
  /// When the reader was asked.
  var askedAt = Instant(milliseconds: 0)
  /// Why it failed, which stays its answer until `retryAt`.
  var failure: ReadFailure?
  var retryAt = Instant(milliseconds: 0)
  var retryDelay = SourceLimits.retryDelayMin
  /// What its numbers are; known once its path is.
  var numbers = SourceNumbers()
  /// Of a file system: its device number, and whether anything has been mounted at its place.
  var device: UInt64 = 0
  var wasMounted = false
  /// Of a line: its number among them, and what is taken of it.
  var line: UInt16 = 0
  var lineQuantity = LineQuantity.level
  /// Of values of a Modbus unit: the first that is asked for, and how many.
  var first: UInt16 = 0
  var count: UInt16 = 0
  /// Quick readings of children in a row, and how many of them it takes.
  var quickReads: UInt16 = 0
  var quickReadsNeeded: UInt16 = 1

  init(kind: SourceKind, placeStart: Int, placeCount: Int) {
    self.kind = kind
    reading = kind.description.reading
    self.placeStart = placeStart
    self.placeCount = placeCount
    switch reading {
    case .inLoop, .byLine, .fromArgument: mode = .trusted
    case .byBus, .byChild, .fileSystemByChild: mode = .inChild
    }
  }

  var place: Range<Int> { placeStart..<(placeStart + placeCount) }

  /// Leaves it alone for a while; each time longer.
  mutating func fail(_ reason: ReadFailure, now: Instant) {
    failure = reason
    retryAt = now + retryDelay
    retryDelay = min(.milliseconds(retryDelay.milliseconds * 2), SourceLimits.retryDelayMax)
  }

  mutating func succeed() {
    failure = nil
    retryDelay = SourceLimits.retryDelayMin
  }

  /// Notes which file system it is, of an answer about one.
  mutating func note(device: UInt64, isMounted: Bool) {
    self.device = device
    if isMounted { wasMounted = true }
  }

  /// Why it must not be touched now.
  func failure(at now: Instant) -> ReadFailure? {
    now < retryAt ? failure : nil
  }

  /// Notes a reading of a child.
  ///
  /// - Returns: whether it has been quick often enough.
  mutating func noteChildReading(_ time: TimeSpan) -> Bool {
    quickReads = time <= SourceLimits.quickTimeMax ? min(quickReads + 1, SourceLimits.quickReadsNeededMax) : 0
    return quickReads >= quickReadsNeeded
  }

  /// It was too slow to be read here.
  mutating func sendBack() {
    mode = .inChild
    quickReads = 0
    quickReadsNeeded = min(quickReadsNeeded * 4, SourceLimits.quickReadsNeededMax)
  }
}
