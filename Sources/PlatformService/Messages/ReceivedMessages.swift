// QoS 2 messages from a client: which were taken, and which of them may be answered.

/// The QoS 2 messages of one session that were taken and not yet released, by packet identifier.
struct ReceivedMessages {
  /// PUBREC that are out at a time: MQTT 3.1.1 has no receive maximum that a client would know of, so what is beyond is
  /// answered later.
  let answeredMax: Int
  /// All that were taken, on whatever connection.
  private var identifiers: Set<UInt16> = []
  /// Those that were answered on this connection.
  private var answered: Set<UInt16> = []
  /// Those that wait for their answer.
  private var waiting: Set<UInt16> = []
  /// Their order [MQTT-4.6.0-3], and what each waits for besides; with some that do not wait any more.
  private var order: [(identifier: UInt16, commit: CommitNumber)] = []
  /// Elements of `order` before this one are gone.
  private var orderStart = 0

  init(answeredMax: Int) { self.answeredMax = answeredMax }

  func contains(_ identifier: UInt16) -> Bool { identifiers.contains(identifier) }

  /// Notes that a message was taken.
  mutating func insert(_ identifier: UInt16) { identifiers.insert(identifier) }

  /// Notes that the client wants an answer about a message; whether it gets one now.
  mutating func answer(_ identifier: UInt16, after commit: CommitNumber) -> Bool {
    if answered.contains(identifier) { return true }
    guard answered.count < answeredMax else {
      // A client that repeats itself waits once.
      if waiting.insert(identifier).inserted { order.append((identifier, commit)) }
      return false
    }
    answered.insert(identifier)
    return true
  }

  /// Forgets a message that the client has released; whether it was known.
  mutating func release(_ identifier: UInt16) -> Bool {
    answered.remove(identifier)
    waiting.remove(identifier)
    return identifiers.remove(identifier) != nil
  }

  /// The next message that may be answered by now.
  mutating func nextAnswer() -> (identifier: UInt16, commit: CommitNumber)? {
    guard answered.count < answeredMax else { return nil }
    while orderStart < order.count {
      let next = order[orderStart]
      orderStart += 1
      guard waiting.remove(next.identifier) != nil else { continue }
      answered.insert(next.identifier)
      return next
    }
    order.removeAll()
    orderStart = 0
    return nil
  }

  /// The connection is gone: the client will say again what it wants to be answered.
  mutating func forgetAnswers() {
    answered.removeAll()
    waiting.removeAll()
    order.removeAll()
    orderStart = 0
  }
}
