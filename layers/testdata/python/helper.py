found = "beside"
