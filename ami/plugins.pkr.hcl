# What packer 1.6 and older cannot parse: they have the plugin built in. `packer init ami/` fetches it.
packer {
  required_version = ">= 1.7.0"
  required_plugins {
    amazon = {
      version = ">= 1.2.6"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
