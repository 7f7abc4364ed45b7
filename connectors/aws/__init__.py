"""What the connectors of AWS's services share. botocore is loaded on first use."""
