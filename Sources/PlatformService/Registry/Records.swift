// What is kept: the rows of the database, and the operations that change them.

import Bytes
import PlatformProtocol

/// A device type.
public struct DeviceTypeRecord: Codable, Equatable, Sendable {
  /// The type's name.
  public var id: String
  /// What its devices are.
  public var classID: DeviceClass
  /// For people.
  public var description: String?
  /// What its devices have in common.
  public var deviceInfo: DeviceInfo
  /// Free JSON.
  public var metadata: JSONValue?
  /// When it was made, as milliseconds since 1970.
  public var created: Int64

  /// A device type.
  public init(
    id: String, classID: DeviceClass = .device, description: String? = nil, deviceInfo: DeviceInfo = DeviceInfo(),
    metadata: JSONValue? = nil, created: Int64 = 0
  ) {
    self.id = id
    self.classID = classID
    self.description = description
    self.deviceInfo = deviceInfo
    self.metadata = metadata
    self.created = created
  }
}

/// Whether a device speaks for others.
public enum DeviceClass: String, Codable, Sendable {
  /// It speaks for itself.
  case device = "Device"
  /// It speaks for itself and others.
  case gateway = "Gateway"
}

/// What is known about a device's hardware and software; each member replaces the one before.
public struct DeviceInfo: Codable, Equatable, Sendable {
  /// The serial number.
  public var serialNumber: String?
  /// Who made it.
  public var manufacturer: String?
  /// The model.
  public var model: String?
  /// The class, in the maker's terms.
  public var deviceClass: String?
  /// For people.
  public var description: String?
  /// The installed firmware.
  public var fwVersion: String?
  /// The hardware's version.
  public var hwVersion: String?
  /// Where it is, in words.
  public var descriptiveLocation: String?

  /// Nothing known.
  public init() {}
}

/// Where a device is.
public struct DeviceLocation: Codable, Equatable, Sendable {
  /// Decimal degrees, as written.
  public var latitude: String
  /// Decimal degrees, as written.
  public var longitude: String
  /// Metres, as written.
  public var elevation: String?
  /// Metres, as written.
  public var accuracy: String?
  /// When it was measured, ISO 8601.
  public var measuredDateTime: String
  /// When it reached us, ISO 8601.
  public var updatedDateTime: String
}

/// An image that a device is to have, and how far it is with it.
public struct FirmwareRecord: Codable, Equatable, Sendable {
  /// The image's version.
  public var version = ""
  /// The image's name.
  public var name = ""
  /// Where to fetch it.
  public var uri = ""
  /// How to check it.
  public var verifier = ""
  /// 0 idle, 1 downloading, 2 downloaded.
  public var state: Int64 = 0
  /// 0 success, 1 in progress, 2 out of memory, 3 connection lost, 4 verification failed, 5 unsupported image,
  /// 6 invalid URI.
  public var updateStatus: Int64 = 0
  /// When any of this changed, ISO 8601.
  public var updatedDateTime = ""

  /// No image.
  public init() {}
}

/// What a managed device has told.
public struct ManagementRecord: Codable, Equatable, Sendable {
  /// When it becomes dormant unless it tells again, in milliseconds since 1970; nil for never.
  public var dormantTime: Int64?
  /// When it last said something about its management, in milliseconds since 1970.
  public var lastActivityTime: Int64
  /// Whether it does reboots and factory resets.
  public var supportsDeviceActions: Bool
  /// Whether it does firmware.
  public var supportsFirmwareActions: Bool
  /// The bundles of custom actions that it does.
  public var bundles: [String]
  /// The image.
  public var firmware: FirmwareRecord
  /// The gateway that speaks for it; nil for itself.
  public var gateway: DeviceKey?
}

/// One entry of a device's diagnostic log.
public struct DiagnosticLogEntry: Codable, Equatable, Sendable {
  /// A UUID; nil in what older versions kept.
  public var id: String?
  /// What happened.
  public var message: String
  /// 0 info, 1 warning, 2 error.
  public var severity: Int64
  /// Base64.
  public var data: String?
  /// When, ISO 8601.
  public var timestamp: String
}

/// One of a device's error codes.
public struct DiagnosticErrorCode: Codable, Equatable, Sendable {
  /// The code.
  public var errorCode: Int64
  /// When it came, ISO 8601.
  public var timestamp: String
}

/// What is known about a client's connections.
public struct ConnectionStatus: Codable, Equatable, Sendable {
  /// Whether it is connected.
  public var isConnected: Bool
  /// When that changed, in milliseconds since 1970.
  public var time: Int64
  /// Its address.
  public var address: String
  /// The port of ours; nil in what older versions kept.
  public var port: Int?
  /// Whether TLS protects, or protected, the connection.
  public var isSecure: Bool
  /// `mqtt4` or `mqtt4-ws`.
  public var protocolName: String
  /// The closing code of the last connection that ended.
  public var closeCode: Int?
  /// When the last connection began, in milliseconds since 1970.
  public var connectTime: Int64
}

/// A registered device or gateway.
public struct DeviceRecord: Codable, Equatable, Sendable {
  /// The device type.
  public var typeID: String
  /// The device.
  public var deviceID: String
  /// Whether it speaks for others.
  public var classID: DeviceClass
  /// Its token, salted and hashed; nil for one that only gateways speak for.
  public var tokenHash: String?
  /// What it is.
  public var deviceInfo: DeviceInfo
  /// Free JSON.
  public var metadata: JSONValue?
  /// Where it is.
  public var location: DeviceLocation?
  /// When it was registered, in milliseconds since 1970.
  public var registered: Int64
  /// The gateway that registered it.
  public var registeredBy: DeviceKey?
  /// Gateways that have spoken for it: commands to it go to them, if they subscribe.
  public var gateways: Set<DeviceKey>?
  /// The devices that a gateway of the Standard role may speak for; nil for other devices, and for gateways of the
  /// Privileged role, which may speak for all and register new ones.
  public var resourceGroup: Set<DeviceKey>?
  /// Present while it is managed.
  public var management: ManagementRecord?
  /// Its error codes, oldest first.
  public var errorCodes: [DiagnosticErrorCode]
  /// Its log, oldest first.
  public var log: [DiagnosticLogEntry]
  /// Its connections; nil before the first one.
  public var connection: ConnectionStatus?

  /// A device that was just registered.
  public init(typeID: String, deviceID: String, classID: DeviceClass = .device, registered: Int64) {
    self.typeID = typeID
    self.deviceID = deviceID
    self.classID = classID
    self.deviceInfo = DeviceInfo()
    self.registered = registered
    self.errorCodes = []
    self.log = []
  }

  /// The device's name.
  public var key: DeviceKey { DeviceKey(typeID: typeID, deviceID: deviceID) }
}

/// An application's credentials.
public struct APIKeyRecord: Codable, Equatable, Sendable {
  /// `a-ORG-RANDOM`
  public var key: String
  /// The token, salted and hashed.
  public var tokenHash: String
  /// For people.
  public var comment: String
  /// When it was made, in milliseconds since 1970.
  public var created: Int64
  /// What it may do; nil for all, as older versions had it.
  public var role: KeyRole?
  /// When it ends, in milliseconds since 1970; nil for never.
  public var expires: Int64?

  /// An application's credentials.
  public init(
    key: String, tokenHash: String, comment: String, created: Int64, role: KeyRole? = nil, expires: Int64? = nil
  ) {
    self.key = key
    self.tokenHash = tokenHash
    self.comment = comment
    self.created = created
    self.role = role
    self.expires = expires
  }

  func hasEnded(_ now: WallTime) -> Bool { expires.map { $0 <= now.milliseconds } ?? false }
}

/// What an API key may do; each role may what those before it may.
public enum KeyRole: String, Codable, Sendable, CaseIterable, Comparable {
  /// Look at everything, and subscribe.
  case read
  /// Send commands and events, and manage devices.
  case operate
  /// Register devices and types, and make API keys.
  case administer

  /// Whether one role may less than another.
  public static func < (one: KeyRole, other: KeyRole) -> Bool { one.rank < other.rank }

  private var rank: Int { KeyRole.allCases.firstIndex(of: self) ?? 0 }
}

/// A durable session.
public struct SessionRecord: Codable, Equatable, Sendable {
  /// The client identifier.
  public var clientID: String
  /// A number for the rows that belong to it.
  public var number: Int64
  /// Filters as the client wrote them, and the granted QoS.
  public var subscriptions: [SubscriptionRecord]
  /// Since when the client is away, in milliseconds since 1970; nil while it is connected.
  public var awaySince: Int64?
}

/// A subscription of a durable session.
public struct SubscriptionRecord: Codable, Equatable, Sendable {
  /// The filter as the client wrote it.
  public var filter: String
  /// The granted QoS.
  public var qos: UInt8
}

/// A message that waits in a durable session, or is in flight to its client.
public struct MessageRecord: Equatable, Sendable {
  /// The session's number.
  public var session: Int64
  /// The message's place in the session; its packet identifier follows from it.
  public var sequence: Int64
  /// The topic as the client sees it.
  public var topic: [UInt8]
  /// The payload.
  public var payload: [UInt8]
  /// 1 or 2.
  public var qos: UInt8
  /// Whether PUBREC came: PUBREL is what is owed.
  public var isReleased: Bool

  /// A message.
  public init(session: Int64, sequence: Int64, topic: [UInt8], payload: [UInt8], qos: UInt8, isReleased: Bool) {
    self.session = session
    self.sequence = sequence
    self.topic = topic
    self.payload = payload
    self.qos = qos
    self.isReleased = isReleased
  }
}

/// The last message of one event of a device.
public struct LastEvent: Codable, Equatable, Sendable {
  /// The event's name.
  public var eventID: String
  /// The payload's format.
  public var format: String
  /// The payload.
  public var payload: [UInt8]
  /// When it came, in milliseconds since 1970.
  public var time: Int64

  /// An event's last message.
  public init(eventID: String, format: String, payload: [UInt8], time: Int64) {
    self.eventID = eventID
    self.format = format
    self.payload = payload
    self.time = time
  }
}

/// A change of what is kept.
public enum StoreOperation: Sendable {
  /// A type is made or changed, or goes.
  case putType(DeviceTypeRecord), removeType(String)
  /// A device is made or changed, or goes, with its last events.
  case putDevice(DeviceRecord), removeDevice(DeviceKey)
  /// A device's connection begins or ends.
  case putConnection(DeviceKey, ConnectionStatus)
  /// An API key is made or changed, or goes.
  case putKey(APIKeyRecord), removeKey(String)
  /// A bundle of custom actions is made or changed, or goes.
  case putBundle(id: String, JSONValue), removeBundle(String)
  /// A session begins or changes its subscriptions, or ends with its messages and identifiers.
  case putSession(SessionRecord), removeSession(number: Int64)
  /// A message begins to wait, is released, or is done with.
  case putMessage(MessageRecord), releaseMessage(session: Int64, sequence: Int64)
  case removeMessage(session: Int64, sequence: Int64)
  /// The packet identifier of a QoS 2 message from a client, which must not be taken twice.
  case putIdentifier(session: Int64, UInt16), removeIdentifier(session: Int64, UInt16)
  /// A device-management request is made or ends; one of its devices moves on; or it goes.
  case putRequest(ManagementRequest), putProgress(request: String, DeviceProgress), removeRequest(String)
  /// Bytes between clients and the platform on one day.
  case putUsage(day: String, byteCount: Int64)
  /// The last message of an event, or that there is none any more.
  case putLastEvent(DeviceKey, LastEvent), removeLastEvent(DeviceKey, eventID: String)
}

/// All that was kept, as it is read at start.
public struct StoredState: Sendable {
  /// Device types.
  public var types: [DeviceTypeRecord] = []
  /// Devices.
  public var devices: [DeviceRecord] = []
  /// API keys.
  public var keys: [APIKeyRecord] = []
  /// Bundles of custom actions by their identifiers.
  public var bundles: [String: JSONValue] = [:]
  /// Durable sessions.
  public var sessions: [SessionRecord] = []
  /// Their messages, in order.
  public var messages: [MessageRecord] = []
  /// Their unreleased QoS 2 identifiers.
  public var identifiers: [(session: Int64, identifier: UInt16)] = []
  /// Device-management requests.
  public var requests: [ManagementRequest] = []
  /// Bytes between clients and the platform by day, `2024-05-01`.
  public var usage: [String: Int64] = [:]
  /// Last events.
  public var lastEvents: [(DeviceKey, LastEvent)] = []

  /// Nothing.
  public init() {}
}
