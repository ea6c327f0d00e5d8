// What belongs together: an organisation's registry, sessions and routes. There are two: the one of this platform, and
// Quickstart's, where nothing is registered or kept.

import Bytes
import IoTPlatform
import PlatformProtocol

/// An organisation.
final class Organization {
  let name: String
  let isQuickstart: Bool
  var types: [String: DeviceTypeRecord] = [:]
  var devices: [DeviceKey: Device] = [:]
  var keys: [String: APIKeyRecord] = [:]
  /// What applications have published over HTTP, by API key.
  var keyRates: [String: RateBucket] = [:]
  /// Bundles of custom actions.
  var bundles: [String: JSONValue] = [:]
  var sessions: [String: ClientSession] = [:]
  var routes = Routes()
  /// What was last told about connected applications, by client identifier.
  var applicationStatus: [String: ApplicationStatus] = [:]
  /// Devices that could not be registered, and until when that is not tried again.
  var failedRegistrations: [DeviceKey: Instant] = [:]
  var durableSessionCount = 0
  var requests: [String: ActiveRequest] = [:]
  /// The order in which requests were made.
  var requestOrder: [String] = []

  init(name: String) {
    self.name = name
    isQuickstart = name == "quickstart"
  }
}

/// What is known about the connections of one client identifier of an application.
struct ApplicationStatus {
  /// What was last told.
  var message: MonitoringMessage
  /// How many connections there are: those of a shared application without instances have one client identifier.
  var connectionCount: Int
}

/// A device, registered or of Quickstart.
final class Device {
  var record: DeviceRecord
  let key: DeviceKey
  /// `iot-2/type/T/id/D/`
  let topicPrefix: [UInt8]
  /// The last message of each of the last events.
  var lastEvents: [LastEvent] = []
  /// When its last event came, kept or not, in milliseconds since 1970.
  var lastEventTime: Int64?
  /// Whether some of them are newer than what is stored, and up to when all are stored.
  var hasUnstoredEvents = false
  var eventsStored: Int64 = 0
  /// What was last told about its connection; applications that subscribe get it.
  var status: MonitoringMessage?
  /// What it has published over HTTP; nil before the first time.
  var httpRate: RateBucket?
  /// Commands that wait until it asks for them over HTTP; nil if it does not ask.
  var mailbox: Mailbox?
  /// Requests that it is part of and not done with.
  var activeRequests: [String] = []
  /// Who wants its events, as of a generation of the routes.
  var eventRoutes: [Route] = []
  var eventRoutesGeneration: UInt64 = 0

  init(_ record: DeviceRecord) {
    self.record = record
    key = record.key
    topicPrefix = Array("iot-2/type/\(record.typeID)/id/\(record.deviceID)/".utf8)
  }

  /// Whether `gateway`, which may speak for the devices of `group` or for all, has spoken for this device, or is it.
  func isReached(by gateway: DeviceKey, _ group: Set<DeviceKey>?) -> Bool {
    gateway == key || (record.gateways?.contains(gateway) ?? false && group?.contains(key) ?? true)
  }
}

/// A request, and where in it each device is.
final class ActiveRequest {
  var record: ManagementRequest
  let index: [DeviceKey: Int]
  let action: ManagementAction
  /// Where the messages of the current steps went, by the devices' places.
  var deliveries: [Int: StepDelivery] = [:]

  init?(_ record: ManagementRequest) {
    guard let action = ManagementAction(name: record.action) else { return nil }
    self.action = action
    self.record = record
    index = Dictionary(
      record.devices.enumerated().map { ($0.element.device, $0.offset) }, uniquingKeysWith: { first, _ in first })
  }
}

/// Where the message of one step of a request went. In memory only: after a restart each device is on another
/// connection.
final class StepDelivery {
  /// The session that took it.
  weak var session: ClientSession?
  /// The last connection on which it was sent.
  var connection: ConnectionID?
  /// Whether it is in the session's queue, until the client acknowledges it.
  var isWaiting = false
}
