// Where the platform keeps what it has: hashes of tokens, events and the addresses of images are nobody else's.

import Foundation
import Logging
import PlatformStore

/// Makes the platform's folder, or takes one that is there; from now on the program's files are its user's alone.
///
/// - Throws: what the file system does not allow.
func prepareDataFolder(_ path: String, _ logger: Logger) throws {
  umask(0o077)
  let files = FileManager.default
  try files.createDirectory(
    atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  let secrets = ["api-key"] + LocalNetwork.FileName.all
  let names = try files.contentsOfDirectory(atPath: path)
  // Versions before this one let others read.
  for name in names where name.hasPrefix(PlatformStore.fileName) || secrets.contains(name) {
    try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path + "/" + name)
  }
  // A folder of other things is not ours to close: our files are closed in it.
  guard names.isEmpty || names.contains(PlatformStore.fileName) else {
    let mode = try files.attributesOfItem(atPath: path)[.posixPermissions] as? Int ?? 0
    if mode & 0o077 != 0 { logger.warning("store folder-open-to-others folder=\(quoted(path))") }
    return
  }
  try files.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
}
