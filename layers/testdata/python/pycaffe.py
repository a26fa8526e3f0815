from caffe import a_thing
