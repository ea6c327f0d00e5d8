// `[queue]`: the queue on flash.

import Bytes

extension SettingsLoader {
  mutating func readQueue(_ settings: inout Settings) {
    guard plainSection(.queue) > 0 else { return }
    settings.queue.isConfigured = true
    settings.queue.byteCountMax = size(.flashSize)
    settings.queue.full = choice(.flashFull)
    settings.queue.keep = duration(.flashKeep)
    readFlush(&settings)
    // Each of at least four segments has room for a message at least.
    guard settings.queue.byteCountMax < 8 * settings.mqtt.packetBytesMax, let entry = winner(.flashSize) else { return }
    reportFound(.error, entry, "; expected eight times packet-size at least")
  }

  /// `each`, a time or a number.
  private mutating func readFlush(_ settings: inout Settings) {
    settings.queue.flushTime = .seconds(10)
    guard let entry = winner(.flashFlush) else {
      settings.queue.flush = settings.keep(StaticString("10s").bytes)
      return
    }
    settings.queue.flush = settings.keep(bytes(entry.value))
    if bytes(entry.value).equals(StaticString("each").bytes) {
      settings.queue.flushTime = .zero
      return
    }
    switch Values.duration(bytes(entry.value)) {
    case .amount(let milliseconds) where milliseconds >= 1000 && milliseconds <= 3_600_000:
      settings.queue.flushTime = .milliseconds(milliseconds)
    case .bare(let number) where number >= 1 && number <= 1000:
      settings.queue.flushTime = .seconds(3600)
      settings.queue.flushCount = Int(number)
    default:
      reportFound(.error, entry, "; expected each, a time from 1s to 1h, or a number of events from 1 to 1000")
    }
  }

  /// Where the events of `section` wait.
  mutating func keeping(in section: Int, _ settings: borrowing Settings) -> Keeping {
    let isFlash = settings.queue.isConfigured
    guard let entry = winner(.keeping, in: section) else { return isFlash ? .flash : .memory }
    let keeping = Keeping(rawValue: choice(.keeping, in: section)) ?? .memory
    if keeping == .flash, !isFlash { reportFound(.error, entry, "; expected a [queue] besides") }
    return keeping
  }
}
