// Entries of diagnostics that an operator makes, not the device.

extension DiagnosticLogEntry {
  /// An entry; `time` is ISO 8601.
  public init(id: String, message: String, severity: Int64, data: String?, at time: String) {
    self.init(id: id, message: message, severity: severity, data: data, timestamp: time)
  }
}

extension DiagnosticErrorCode {
  /// A code; `time` is ISO 8601.
  public init(code: Int64, at time: String) {
    self.init(errorCode: code, timestamp: time)
  }
}
