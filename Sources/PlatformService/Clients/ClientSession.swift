// What outlives a connection.

import Bytes
import MQTT

/// A session: subscriptions and messages of one client. A clean one ends with its connection.
final class ClientSession {
  /// The key under which it is known: the client identifier, or a private one for members of a shared application.
  let id: String
  /// The client identifier on the wire.
  let clientID: String
  let identity: ClientIdentity
  unowned let organization: Organization
  /// The number in the database; nil for a clean session.
  let number: Int64?
  var presence = Presence.gone
  /// The device or gateway that this client is.
  var device: Device?
  var subscriptions: [Subscription] = []
  var queue: OutgoingQueue
  var received: ReceivedMessages
  /// Scratch of the delivery going on: where this session stands in its list.
  var deliveryNumber: UInt64 = 0
  var deliveryIndex = 0

  /// Where the client is.
  enum Presence {
    case connected(ClientConnection)
    /// Since when it is away, as it is kept over a restart, and when the session ends unless it comes.
    case away(since: WallTime, forgetAt: Instant)
    /// Not here, in a session that does not wait for it.
    case gone
  }

  struct Subscription {
    let filter: TopicFilter
    /// As the client wrote it.
    let text: [UInt8]
    var qos: UInt8
  }

  init(id: String, clientID: String, identity: ClientIdentity, organization: Organization, number: Int64?) {
    self.id = id
    self.clientID = clientID
    self.identity = identity
    self.organization = organization
    self.number = number
    switch identity {
    case .device:
      queue = OutgoingQueue(inflightMax: ServiceLimits.deviceInflightMax)
      received = ReceivedMessages(answeredMax: ServiceLimits.deviceReceiveMax)
    case .gateway:
      queue = OutgoingQueue(inflightMax: ServiceLimits.applicationInflightMax)
      received = ReceivedMessages(answeredMax: ServiceLimits.gatewayReceiveMax)
    case .application, .sharedApplication:
      queue = OutgoingQueue(inflightMax: ServiceLimits.applicationInflightMax)
      received = ReceivedMessages(answeredMax: ServiceLimits.applicationReceiveMax)
    }
  }

  /// The connection, while there is one.
  var connection: ClientConnection? {
    if case .connected(let connection) = presence { connection } else { nil }
  }

  private var awaySince: WallTime? {
    if case .away(let since, _) = presence { since } else { nil }
  }

  var isDurable: Bool { number != nil }

  /// The application that shares this session's messages among its connections.
  var sharedApplicationID: String? {
    if case .sharedApplication(_, let id, _) = identity { id } else { nil }
  }

  var isApplication: Bool { identity.applicationID != nil }

  /// Whether topics are written with type and device in them for this client.
  var usesLongForm: Bool {
    if case .device = identity { false } else { true }
  }

  var subscriptionsMax: Int {
    isApplication ? ServiceLimits.applicationSubscriptionsMax : ServiceLimits.deviceSubscriptionsMax
  }

  var record: SessionRecord? {
    number.map { number in
      SessionRecord(
        clientID: clientID, number: number,
        subscriptions: subscriptions.map {
          SubscriptionRecord(filter: String(decoding: $0.text, as: UTF8.self), qos: $0.qos)
        }, awaySince: awaySince?.milliseconds)
    }
  }
}
