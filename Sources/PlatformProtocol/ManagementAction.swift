// The actions of device management by the names that applications and devices know.

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
  package var topic: String {
    switch self {
    case .reboot: "mgmt/initiate/device/reboot"
    case .factoryReset: "mgmt/initiate/device/factory_reset"
    case .firmwareDownload: "mgmt/initiate/firmware/download"
    case .firmwareUpdate: "mgmt/initiate/firmware/update"
    case .custom(let bundle, let action): "mgmt/custom/\(bundle)/\(action)"
    }
  }

  /// Whether it is about the image.
  package var isFirmware: Bool { self == .firmwareDownload || self == .firmwareUpdate }
}
