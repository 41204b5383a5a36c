# Machine images that run natha: Amazon Linux 2023 and Debian 12, each for arm64 and x86_64.
#
#   packer init ami/                      # packer 1.7 or newer: fetches the plugin, plugins.pkr.hcl
#   packer build -var version=0.1.0 -var natha_arm64=… -var natha_x86_64=… ami/
#   packer build -only='natha.amazon-ebs.debian-arm64' …     # one of them
#
# Run packer in the directory above this one: the paths below are relative to it.
#
# Debian 12's Packer 1.6 has the plugin built in and can parse neither plugins.pkr.hcl nor the lines
# marked below. tests/boot/check uses it to validate the rest.

variable "version" {
  type        = string
  description = "natha's version, for the names and tags of the images."
}

variable "natha_arm64" {
  type        = string
  default     = "target/aarch64-unknown-linux-gnu/release/natha"
  description = "The natha program for arm64, static or for glibc 2.34 or older."
}

variable "natha_x86_64" {
  type        = string
  default     = "target/release/natha"
  description = "The natha program for x86_64, static or for glibc 2.34 or older."
}

variable "region" {
  type        = string
  default     = "us-east-1"
  description = "The region to build the images in."
}

variable "copy_to" {
  type        = list(string)
  default     = []
  description = "Other regions to copy the images to."
}

variable "share_with" {
  type        = list(string)
  default     = []
  description = "Accounts to share the images with. For an encrypted image, share its key too."
}

variable "encrypt" {
  type        = bool
  default     = false
  description = "Whether to encrypt the root volume."
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "The KMS key for the encryption. Empty: the account's default key for EBS."
}

variable "subnet" {
  type        = string
  default     = ""
  description = "The subnet of the builder, with access to the distribution's mirrors. Empty: the default VPC."
}

variable "amazon_linux_kernel" {
  type        = string
  default     = "6.12"
  description = "The line of Amazon Linux's kernel. Amazon publishes an image for each."
}

variable "with_aws_cli" {
  type        = bool
  default     = false
  description = "Whether to install the AWS CLI, which fetches the cluster key from SSM."
}

variable "with_ssm_agent" {
  type        = bool
  default     = true
  description = "Whether to install Session Manager's agent from Amazon Linux's archive."
}

variable "ssm_agent_debian_arm64" {
  type        = string
  default     = ""
  description = "Session Manager's agent for Debian on arm64, as URL#sha256=SUM: Debian's archive has none. Empty: no agent."
}

variable "ssm_agent_debian_x86_64" {
  type        = string
  default     = ""
  description = "The same for x86_64."
}

locals {
  stamp = formatdate("YYYYMMDDhhmm", timestamp())
  tags = {
    "natha:version" = var.version
    "built-with"    = "packer"
  }
}

source "amazon-ebs" "base" {
  region                  = var.region
  ami_regions             = var.copy_to
  ami_users               = var.share_with
  subnet_id               = var.subnet
  ami_description         = "natha ${var.version}: NAT instances that cover for each other"
  ami_virtualization_type = "hvm"
  ena_support             = true
  encrypt_boot            = var.encrypt
  kms_key_id              = var.kms_key

  # Leave no trace of Packer's access to the builder.
  ssh_clear_authorized_keys = true
  # Some minimal images lack scp; sftp is part of the server.
  ssh_file_transfer_method = "sftp"
  ssh_interface            = "public_ip"

  # newer than packer 1.6: begin
  # Require IMDSv2 tokens, on instances of the image and on the builder.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # newer than packer 1.6: end
}

build {
  name = "natha"

  source "amazon-ebs.base" {
    name          = "amazon-linux-arm64"
    ami_name      = "natha-${var.version}-al2023-arm64-${local.stamp}"
    instance_type = "t4g.small"
    ssh_username  = "ec2-user"
    source_ami_filter {
      filters     = { name = "al2023-ami-minimal-2023.*-kernel-${var.amazon_linux_kernel}-arm64", root-device-type = "ebs", virtualization-type = "hvm" }
      owners      = ["amazon"]
      most_recent = true
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      volume_size           = 3
      delete_on_termination = true
    }
    tags          = merge(local.tags, { Name = "natha-${var.version}-al2023-arm64" })
    snapshot_tags = local.tags
    run_tags      = { Name = "packer natha al2023 arm64" }
  }

  source "amazon-ebs.base" {
    name          = "debian-arm64"
    ami_name      = "natha-${var.version}-debian12-arm64-${local.stamp}"
    instance_type = "t4g.small"
    ssh_username  = "admin"
    source_ami_filter {
      filters     = { name = "debian-12-arm64-*", root-device-type = "ebs", virtualization-type = "hvm" }
      owners      = ["136693071363"]
      most_recent = true
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      volume_size           = 8
      delete_on_termination = true
    }
    tags          = merge(local.tags, { Name = "natha-${var.version}-debian12-arm64" })
    snapshot_tags = local.tags
    run_tags      = { Name = "packer natha debian12 arm64" }
  }

  source "amazon-ebs.base" {
    name          = "amazon-linux-x86_64"
    ami_name      = "natha-${var.version}-al2023-x86_64-${local.stamp}"
    instance_type = "t3.small"
    ssh_username  = "ec2-user"
    source_ami_filter {
      filters     = { name = "al2023-ami-minimal-2023.*-kernel-${var.amazon_linux_kernel}-x86_64", root-device-type = "ebs", virtualization-type = "hvm" }
      owners      = ["amazon"]
      most_recent = true
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      volume_size           = 3
      delete_on_termination = true
    }
    tags          = merge(local.tags, { Name = "natha-${var.version}-al2023-x86_64" })
    snapshot_tags = local.tags
    run_tags      = { Name = "packer natha al2023 x86_64" }
  }

  source "amazon-ebs.base" {
    name          = "debian-x86_64"
    ami_name      = "natha-${var.version}-debian12-x86_64-${local.stamp}"
    instance_type = "t3.small"
    ssh_username  = "admin"
    source_ami_filter {
      filters     = { name = "debian-12-amd64-*", root-device-type = "ebs", virtualization-type = "hvm" }
      owners      = ["136693071363"]
      most_recent = true
    }
    launch_block_device_mappings {
      device_name           = "/dev/xvda"
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      volume_size           = 8
      delete_on_termination = true
    }
    tags          = merge(local.tags, { Name = "natha-${var.version}-debian12-x86_64" })
    snapshot_tags = local.tags
    run_tags      = { Name = "packer natha debian12 x86_64" }
  }

  # cloud-init writes the archive's addresses and its own state until its first boot is over. The
  # directory must exist: packer's upload by sftp does not make it.
  provisioner "shell" {
    inline = [
      "timeout 300 cloud-init status --wait || echo 'cloud-init has not ended as it should'",
      "mkdir -p /tmp/natha-image",
    ]
  }

  # The slash is important. Without it, packer makes a directory ami in the destination.
  provisioner "file" {
    source      = "ami/"
    destination = "/tmp/natha-image"
  }

  provisioner "file" {
    only        = ["amazon-ebs.amazon-linux-arm64", "amazon-ebs.debian-arm64"]
    source      = var.natha_arm64
    destination = "/tmp/natha"
  }

  provisioner "file" {
    only        = ["amazon-ebs.amazon-linux-x86_64", "amazon-ebs.debian-x86_64"]
    source      = var.natha_x86_64
    destination = "/tmp/natha"
  }

  provisioner "shell" {
    only   = ["amazon-ebs.amazon-linux-arm64", "amazon-ebs.amazon-linux-x86_64"]
    inline = ["echo '${var.with_ssm_agent ? "--ssm-agent package" : ""}' >/tmp/natha-options"]
  }

  provisioner "shell" {
    only   = ["amazon-ebs.debian-arm64"]
    inline = ["echo '${var.ssm_agent_debian_arm64 == "" ? "" : "--ssm-agent ${var.ssm_agent_debian_arm64}"}' >/tmp/natha-options"]
  }

  provisioner "shell" {
    only   = ["amazon-ebs.debian-x86_64"]
    inline = ["echo '${var.ssm_agent_debian_x86_64 == "" ? "" : "--ssm-agent ${var.ssm_agent_debian_x86_64}"}' >/tmp/natha-options"]
  }

  provisioner "shell" {
    inline = [
      "chmod 755 /tmp/natha /tmp/natha-image/provision",
      "sudo /tmp/natha-image/provision --binary /tmp/natha ${var.with_aws_cli ? "--with-aws-cli" : ""} $(cat /tmp/natha-options)",
      "rm -rf /tmp/natha /tmp/natha-image /tmp/natha-options",
    ]
  }

  # The ids of the images. Packer makes no directory for it.
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}
