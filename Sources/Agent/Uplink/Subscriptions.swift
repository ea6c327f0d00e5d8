// What the agent is subscribed to. Each part that wants messages asks for its filter, and sees what became of it.

import Bytes
import MQTT

/// How far a subscription has come on the present connection.
public enum SubscriptionState: Sendable, BitwiseCopyable {
  /// Nobody wants it.
  case unwanted
  /// It is to be asked for as soon as there is room.
  case wanted
  /// SUBSCRIBE is written; SUBACK will have this packet identifier.
  case asked(packetIdentifier: UInt16)
  /// The server sends what matches.
  case granted(QoS)
  /// The server does not; it is asked again on the next connection.
  case refused

  /// Whether the server sends what matches.
  public var isGranted: Bool {
    if case .granted = self { return true }
    return false
  }
}

/// The filters that the agent knows of, with what became of each.
struct Subscriptions {
  private struct Entry {
    var filter: StaticString = ""
    var qos = QoS.atMostOnce
    var state = SubscriptionState.unwanted
  }

  private var entries = PerSubscription<Entry>(repeating: Entry())
  private(set) var count = 0
  /// How many are to be asked for.
  private(set) var wantedCount = 0

  /// What became of `filter`.
  func state(of filter: StaticString) -> SubscriptionState {
    for index in 0..<count where entries[index].filter.isSameText(as: filter) { return entries[index].state }
    return .unwanted
  }

  /// The filter at `index`; empty where there is none.
  @inline(never)  // Otherwise all of them are copied for the one.
  func filter(_ index: Int) -> StaticString { entries[index].filter }

  /// The word for what became of it.
  @inline(never)  // as above
  func stateName(_ index: Int) -> StaticString {
    switch entries[index].state {
    case .unwanted: ""
    case .wanted: "wanted"
    case .asked: "asked"
    case .granted: "granted"
    case .refused: "refused"
    }
  }

  /// Has `filter` asked for on this connection and all later ones.
  mutating func want(_ filter: StaticString, qos: QoS) {
    for index in 0..<count where entries[index].filter.isSameText(as: filter) { return }
    precondition(count < AgentLimits.subscriptionsMax)
    entries[count] = Entry(filter: filter, qos: qos, state: .wanted)
    count += 1
    wantedCount += 1
  }

  /// A connection begins: all are asked for again, as servers lose sessions that they claim to have, and may have
  /// changed their minds about those that they refused.
  mutating func beginConnection() {
    for index in 0..<count { entries[index].state = .wanted }
    wantedCount = count
  }

  /// Asks for what is wanted, as far as there is room: what is sent again after a reconnect may fill the output for a
  /// while.
  @inline(never)  // beside the turns of events
  mutating func ask(_ client: inout Client, now: Instant) {
    for index in 0..<count {
      guard case .wanted = entries[index].state else { continue }
      let identifier = client.subscribe(filter: entries[index].filter.bytes, qos: entries[index].qos, now: now)
      guard let identifier else { return }
      entries[index].state = .asked(packetIdentifier: identifier)
      wantedCount -= 1
    }
  }

  /// Takes over a SUBACK; `returnCode` is the granted quality of service, or 0x80 (section 3.9.3).
  ///
  /// - Returns: the filter, where the server refused it.
  mutating func note(packetIdentifier: UInt16, returnCode: UInt8) -> StaticString? {
    for index in 0..<count {
      guard case .asked(packetIdentifier) = entries[index].state else { continue }
      if let qos = QoS(rawValue: returnCode) {
        entries[index].state = .granted(qos)
        return nil
      }
      entries[index].state = .refused
      return entries[index].filter
    }
    return nil
  }
}
