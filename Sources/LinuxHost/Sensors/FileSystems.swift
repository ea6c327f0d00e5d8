// What is known of file systems by their numbers of statfs(2) (linux/magic.h).

/// How far a file system can be trusted not to keep a reader waiting.
enum FileSystemTrust: Equatable {
  /// The kernel's own attributes: a file that stays open is made anew at each reading.
  case attributes
  /// Storage of this machine. Files there are replaced by others of the same name, so they are opened for each reading.
  case local
  /// A server, another process or something unknown stands behind it: it can keep a reader waiting for ever.
  case none

  init(statfsNumber: UInt64) {
    switch statfsNumber {
    case 0x6265_6572, 0x9FA0, 0x6462_6720, 0x6265_6570, 0x0027_E0EB, 0x6367_7270:
      self = .attributes  // sysfs, proc, debugfs, configfs, cgroup, cgroup2
    case 0x0102_1994, 0x8584_58F6, 0xEF53, 0xF2F5_2010, 0x9123_683E, 0x5846_5342, 0x2405_1905, 0x72B6, 0x7371_7368,
      0x794C_7630, 0x4D44, 0x2011_BAB0, 0xE0F5_E1E2, 0x28CD_3D45, 0x7275, 0x5941_FF53, 0x9660:
      self = .local
    // tmpfs, ramfs, ext2/3/4, f2fs, btrfs, xfs, ubifs, jffs2, squashfs,
    // overlay, vfat, exfat, erofs, cramfs, romfs, yaffs, iso9660
    default:
      self = .none
    }
  }
}
