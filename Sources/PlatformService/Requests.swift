// Device-management requests as an application sees them: what is asked of which devices, and how far each is.

import Bytes

/// What a request asks of its devices.
public enum ManagementAction: Equatable, Hashable, Sendable {
  /// Restart.
  case reboot
  /// Forget all settings but identity and credentials.
  case factoryReset
  /// Fetch an image.
  case firmwareDownload
  /// Install the image that was fetched.
  case firmwareUpdate
  /// An action that a bundle describes.
  case custom(bundle: String, action: String)

  /// The action by its name in the REST API, `device/reboot` for example; nil for none.
  public init?(name: String) {
    switch name {
    case "device/reboot": self = .reboot
    case "device/factoryReset": self = .factoryReset
    case "firmware/download": self = .firmwareDownload
    case "firmware/update": self = .firmwareUpdate
    default:
      let parts = name.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else { return nil }
      self = .custom(bundle: String(parts[0]), action: String(parts[1]))
    }
  }

  /// The name in the REST API.
  public var name: String {
    switch self {
    case .reboot: "device/reboot"
    case .factoryReset: "device/factoryReset"
    case .firmwareDownload: "firmware/download"
    case .firmwareUpdate: "firmware/update"
    case .custom(let bundle, let action): "\(bundle)/\(action)"
    }
  }

  /// The topic levels behind `iotdm-1/` of the request that starts the action.
  var topic: String {
    switch self {
    case .reboot: "mgmt/initiate/device/reboot"
    case .factoryReset: "mgmt/initiate/device/factory_reset"
    case .firmwareDownload: "mgmt/initiate/firmware/download"
    case .firmwareUpdate: "mgmt/initiate/firmware/update"
    case .custom(let bundle, let action): "mgmt/custom/\(bundle)/\(action)"
    }
  }

  var isFirmware: Bool { self == .firmwareDownload || self == .firmwareUpdate }
}

/// A parameter of a request.
public struct ActionParameter: Codable, Equatable, Sendable {
  /// The name.
  public var name: String
  /// The value.
  public var value: JSONValue

  /// A parameter.
  public init(name: String, value: JSONValue) {
    self.name = name
    self.value = value
  }
}

/// How far one device is with a request. The platform's documents do not list the numbers: these are ours.
public enum DeviceRequestStatus: Int, Codable, Sendable {
  /// Done.
  case success = 0
  /// Under way.
  case inProgress = 1
  /// The device says that it cannot do this (501), or never said that it could.
  case unsupported = 2
  /// The device refused or failed.
  case failed = 3
  /// Time ran out.
  case timedOut = 4
  /// An operator cancelled it, or another request overrode it.
  case cancelled = 5
}

/// One device's part of a request.
public struct DeviceProgress: Codable, Equatable, Sendable {
  /// The device.
  public var device: DeviceKey
  /// How far it is.
  public var status: DeviceRequestStatus
  /// For people: what the device said, or what is awaited.
  public var message: String
  /// Whether nothing more will happen.
  public var isComplete: Bool
  /// What is awaited from the device.
  public var step: Step
  /// The `reqId` of the request to the device that waits for an answer.
  public var requestID: String?
  /// When this last changed, in milliseconds since 1970.
  public var updated: Int64

  /// What is awaited from a device. Firmware goes through all of them but `manage`.
  public enum Step: Int, Codable, Sendable {
    /// The answer to the update of its firmware attributes.
    case update
    /// The answer to `observe`.
    case observe
    /// The answer to the request that starts the action.
    case initiate
    /// The manage request after a restart.
    case manage
    /// A notification of the last state.
    case notify
    /// The answer to `cancel`.
    case cancel
    /// Nothing.
    case done
  }
}

/// A device-management request.
public struct ManagementRequest: Codable, Equatable, Sendable, Identifiable {
  /// A UUID.
  public var id: String
  /// The action's name in the REST API.
  public var action: String
  /// What the action gets.
  public var parameters: [ActionParameter]
  /// Its devices.
  public var devices: [DeviceProgress]
  /// When it was made, in milliseconds since 1970.
  public var started: Int64
  /// When it times out, in milliseconds since 1970.
  public var expires: Int64
  /// Whether all devices are done.
  public var isComplete: Bool
}

/// What an application asks for.
public struct ManagementRequestDraft: Sendable {
  /// The action's name in the REST API.
  public var action: String
  /// What the action gets.
  public var parameters: [ActionParameter]
  /// Its devices.
  public var devices: [DeviceKey]
  /// How long it may take, in seconds; nil for the default.
  public var timeoutSeconds: Int?
  /// Whether other firmware requests of the same devices are cancelled.
  public var overrides: Bool

  /// A request to be made.
  public init(
    action: String, parameters: [ActionParameter] = [], devices: [DeviceKey], timeoutSeconds: Int? = nil,
    overrides: Bool = false
  ) {
    self.action = action
    self.parameters = parameters
    self.devices = devices
    self.timeoutSeconds = timeoutSeconds
    self.overrides = overrides
  }
}
