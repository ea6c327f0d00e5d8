// The two clocks of the system, and the lower bound that a board without a battery needs.
//
// Such a board starts in 1970, and then no certificate is valid yet. But time has certainly passed since this program
// was built, and since it last ran: the clock floor is the later of the two.

import Bytes
import CLinux

/// The system's clocks, and the clock floor.
public struct Clock: ~Copyable {
  /// How often the last known time is stored at most: flash wears out.
  public static var storeInterval: TimeSpan { .minutes(60) }
  /// How far behind the build a stored time may be to be believed: 30 years. A damaged file must not make every
  /// certificate expired.
  static var storedAfterBuildMax: Int64 { 30 * 365 * 86_400 }

  /// Empty when nothing is stored.
  private let path: PathText
  private var floor: WallTime
  /// A moment on both clocks at which the wall clock was proven right.
  private var provenNow: Instant?
  private var provenTime = WallTime(milliseconds: 0)
  private var lastStore: Instant?

  /// Starts with the later of the build time and the time in the file at `path`, which need not be there; an empty path
  /// means that nothing is kept.
  public init(path: Span<UInt8>, from arena: inout Arena) throws(ArenaExhausted) {
    let build = mote_build_time()
    self.path = PathText(path)
    floor = WallTime(milliseconds: build * 1000)
    guard !path.isEmpty else { return }
    var text = try ByteBuffer(capacity: 32, for: "clock", from: &arena)
    guard let stored = readStored(using: &text) else { return }
    guard stored > build, stored - build <= Clock.storedAfterBuildMax else { return }
    floor = WallTime(milliseconds: stored * 1000)
  }

  // MARK: Reading

  /// The boot-time clock: counts suspend, never jumps.
  public func now() -> Instant { System.bootTime() }

  /// UTC; nil while the system's clock is earlier than the floor.
  public func wallTime() -> WallTime? {
    let time = WallTime(milliseconds: System.wallMilliseconds())
    return time < floor ? nil : time
  }

  /// The time to check certificates against: the system's, or the floor where that is later.
  public func certificateTime() -> WallTime { wallTime() ?? floor }

  // MARK: Remembering

  /// Takes the present time as proven: a certificate was checked against it and is good. Only such a time is ever
  /// stored, for a wrong one in the future would outlast its correction.
  public mutating func noteProven(now: Instant) {
    provenNow = now
    provenTime = certificateTime()
  }

  /// Stores the last known time, if one was proven: at most once every `storeInterval`, or at once at the orderly end.
  /// Waits for one small write. That it fails, on a read-only file system for instance, is no harm.
  public mutating func store(now: Instant, isEnding: Bool) {
    guard path.count > 0, let provenNow else { return }
    if !isEnding, let lastStore, now - lastStore < Clock.storeInterval { return }
    lastStore = now
    // Counted on the clock that cannot jump, and not ahead of the other, which may have been corrected since.
    let elapsed = max(0, (now - provenNow).milliseconds)
    var time = WallTime(milliseconds: provenTime.milliseconds + elapsed)
    if let system = wallTime() { time = min(time, system) }
    guard time > floor else { return }
    writeStored(time.milliseconds / 1000)
  }

  // MARK: Storing

  // The file has seconds since 1970 in decimal, and a line feed.

  private func readStored(using text: inout ByteBuffer) -> Int64? {
    do throws(Errno) {
      let descriptor = try System.openForReading(path)
      defer { System.close(descriptor) }
      _ = try System.read(descriptor, into: &text, byteCountMax: text.capacity)
    } catch { return nil }
    let bytes = text.span
    guard let value = parseUnsigned(bytes.extracting(bytes.trimmed(0..<bytes.count))) else { return nil }
    return Int64(exactly: value)
  }

  /// Writes another file and puts it in the old one's place, so that one of the two is always whole. Not flushed to the
  /// disk:
  /// after a power cut an old time, or none, does.
  private func writeStored(_ seconds: Int64) {
    var newPath = PathText(copying: path)
    newPath.append(".new")
    var memory = InlineArray<32, UInt8>(repeating: 0)
    var span = memory.mutableSpan
    span.withUnsafeMutableBytes { room in
      guard let start = room.baseAddress else { return }
      // DEVIATION(unsafe-pointer): a buffer on the stack, used inside this call only.
      var text = ByteBuffer(Region(start: start, count: room.count))
      text.append(decimal: seconds)
      text.append(UInt8(ascii: "\n"))
      do throws(Errno) {
        try System.writeFile(newPath, text.span)
        try System.rename(newPath, to: path)
      } catch {
        // The next time is as good.
      }
    }
  }
}
