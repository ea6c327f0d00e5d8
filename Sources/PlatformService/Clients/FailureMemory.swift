// Failed authentications over HTTP, by what they came from. Over MQTT the answer waits; here the next question does.

import Bytes

/// Remembers failures, and for how long the next attempt has to wait.
public struct FailureMemory: Sendable {
  private struct Record {
    var count: Int
    var last: Instant
  }

  /// Failures that cost nothing.
  private let freeCount: Int
  private var records: [String: Record] = [:]

  /// A memory in which so many failures of one origin cost nothing.
  public init(freeCount: Int) { self.freeCount = freeCount }

  /// How long an origin has to wait from now on; nil where it need not. Each failure doubles it.
  public func wait(_ origin: String, now: Instant) -> TimeSpan? {
    guard let record = records[origin], record.count > freeCount, !isForgotten(record, now) else { return nil }
    let doublings = min(record.count - freeCount - 1, ServiceLimits.failureDoublingsMax)
    let rest = record.last + .seconds(Int64(1) << Int64(doublings)) - now
    return rest.milliseconds > 0 ? rest : nil
  }

  /// Counts a failure, and gives how many there are.
  public mutating func note(_ origin: String, now: Instant) -> Int {
    if records[origin] == nil, records.count >= ServiceLimits.failureRecordsMax { makeRoom(now) }
    let count = (records[origin].flatMap { isForgotten($0, now) ? nil : $0 }?.count ?? 0) + 1
    records[origin] = Record(count: count, last: now)
    return count
  }

  /// Forgets an origin's failures: it has shown that it knows better.
  public mutating func forget(_ origin: String) { records[origin] = nil }

  private func isForgotten(_ record: Record, _ now: Instant) -> Bool {
    now - record.last >= ServiceLimits.failureMemory
  }

  /// What is over goes first, then the half that has been quiet for the longest time.
  private mutating func makeRoom(_ now: Instant) {
    records = records.filter { !isForgotten($0.value, now) }
    guard records.count >= ServiceLimits.failureRecordsMax else { return }
    let times = records.values.map(\.last).sorted()
    let middle = times[times.count / 2]
    records = records.filter { $0.value.last > middle }
  }
}
